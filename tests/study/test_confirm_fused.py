"""A confirmation whose seeds are trained as one program has the rows of one whose seeds are trained one by one."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from here import CPU, all_done

from study import confirm as confirming
from study import tasks
from study.agenda import Agenda
from study.confirm import confirm, jobs
from study.record.confirmation import RESULT
from study.record.extension import confirmed_otherwise
from study.record.folder import Run
from study.record.storage import open_run
from study.spec import StudySpec
from study.trial import checkpoint

HOW = {"top": 0, "seeds": 3, "samples": 4, "images": 20, "scores": []}
BUDGET = {"steps": 40, "report_every": 20, "batch": 16}


def started(spec: StudySpec, folder: Path) -> Run:
    run = Run(folder / "tiny")
    run.create(spec)
    open_run(run, spec, create=True)
    return run


@pytest.fixture(scope="module")
def spec(raw, data) -> StudySpec:
    return StudySpec(**raw(trials=0, budget=BUDGET, confirm=HOW))


@pytest.fixture(scope="module")
def one_by_one(spec, tmp_path_factory) -> pd.DataFrame:
    run = started(spec, tmp_path_factory.mktemp("one_by_one"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confirming, "_work_all", all_done)
        confirm(run)
    return pd.read_parquet(run.table("confirm"))


def check_alike(run: Run, expected: pd.DataFrame, fused: list[bool]) -> None:
    """The rows, up to rounding."""
    found = pd.read_parquet(run.table("confirm"))
    assert found["fused"].tolist() == fused
    assert not expected["fused"].any()
    assert (found[["seconds", "cpu_seconds"]] > 0).all(axis=None)
    same = [name for name in expected if name not in ("seconds", "cpu_seconds", "fused")]
    pd.testing.assert_frame_equal(found[same], expected[same], rtol=1e-4)


def test_with_ray_it_has_the_same_rows_and_goes_on_from_checkpoints(spec, one_by_one, ray_up, tmp_path):
    run, said = started(spec, tmp_path), []
    confirm(run, spec=confirmed_otherwise(run, ["confirm.fused=true"]), say=said.append)
    check_alike(run, one_by_one, [True] * 3)
    assert run.spec().confirm.fused
    assert [line.partition(":")[0] for line in said] == [f"defaults, seed {seed} of 3" for seed in (1, 2, 3)]
    assert ["left" in line for line in said] == [True, True, False]
    assert said[-1].endswith("(3 of 3)")

    for repeat in (0, 1):
        folder = run.confirmation("defaults", repeat)
        (folder / RESULT).unlink()
        shutil.move(folder / checkpoint.PREVIOUS, folder / checkpoint.LAST)
    (folder / checkpoint.LAST).unlink()  # of the second one there is nothing
    (folder / checkpoint.BEST).unlink()
    confirm(run, say=said.append)
    assert len(said) == 5
    check_alike(run, one_by_one, [True] * 3)
    assert "goes on from step 20\n" in (run.confirmation("defaults", 0) / "log").read_text()


@pytest.fixture
def fused(spec) -> StudySpec:
    return spec.model_copy(update={"confirm": spec.confirm.model_copy(update={"fused": True})})


def test_the_seeds_of_a_configuration_are_one_task_but_for_those_that_are_done(fused, tmp_path):
    run = started(fused, tmp_path)
    agenda = Agenda(run, fused, jobs(open_run(run)))
    (task,) = agenda.ready()
    assert task.key == ("work", "defaults", (0, 1, 2))
    assert list(agenda.ready()) == []
    assert [confirming._share(gpus, task) for gpus in (0.0, 0.25, 0.5, 2.0)] == [0.0, 0.75, 1.0, 2.0]
    alone = task._replace(jobs=task.jobs[1:2])
    agenda.take(alone, confirming.do(alone, run, fused, None, CPU))
    assert [each.key for each in agenda.left()] == [("work", "defaults", (0, 2))]


def test_where_the_program_fails_each_goes_on_alone_from_its_checkpoint(fused, one_by_one, tmp_path, monkeypatch):
    run = started(fused, tmp_path)

    def failing(trials):
        for trial in trials:
            trial.report()
            trial.training.step = 7  # as a program leaves it that failed in the midst of a step
        raise RuntimeError("a kernel has a bug")

    monkeypatch.setattr(tasks, "train_together", failing)
    monkeypatch.setattr(confirming, "_work_all", all_done)
    confirm(run)
    check_alike(run, one_by_one, [False] * 3)
    log = (run.confirmation("defaults", 2) / "log").read_text()
    assert "goes on alone: crash: RuntimeError: a kernel has a bug\n" in log
    assert "goes on from step 20\n" in log


GREEDY = """
import torch
from models.vae import build as plain


def build(image_shape, *, latent=4, **shared):
    model = plain(image_shape, latent=latent, **shared)
    loss = model.loss

    def greedy(x, step):
        if torch._C._functorch.maybe_current_level() is not None:
            raise MemoryError("not enough memory")
        return loss(x, step)

    model.loss = greedy
    return model
"""


@pytest.mark.long
def test_where_the_memory_is_spent_the_seeds_are_tried_one_by_one(raw, one_by_one, ray_up, tmp_path):
    (tmp_path / "greedy.py").write_text(GREEDY, encoding="utf-8")
    how = {**HOW, "seeds": 2, "fused": True}
    fixed = {"hidden": 16, "latent": 4}
    spec, said = (
        StudySpec(**raw(model=str(tmp_path / "greedy.py"), fixed=fixed, trials=0, budget=BUDGET, confirm=how)),
        [],
    )
    run = started(spec, tmp_path)
    confirm(run, say=said.append)
    again = "oom: not enough memory; it is tried again, not fused with others"
    assert said[:2] == [f"defaults, seed {seed} of 2: {again}" for seed in (1, 2)]
    found = pd.read_parquet(run.table("confirm"))
    assert found["cause"].tolist() == ["", ""]
    assert not found["fused"].any()
    assert len(said) == 4
