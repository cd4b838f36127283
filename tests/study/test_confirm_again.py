"""A confirmation that is asked for again: what other settings change is done again, and nothing else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from here import TEST, defined, flat

import imagesets
from study import confirm as confirming
from study.agenda import Agenda
from study.confirm import confirm, jobs
from study.record.confirmation import RESULT
from study.record.folder import Run
from study.record.storage import open_run
from study.spec import StudySpec
from study.tasks import work
from study.trial import checkpoint
from study.trial.evaluation import evaluate
from study.trial.images import Images
from study.trial.training import Training

pytestmark = pytest.mark.long

FULL, EVERY = 40, 20
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def confirmed(raw, ray_up, tmp_path_factory) -> Run:
    """A run without a complete trial, whose defaults are confirmed over two seeds."""
    run = Run(tmp_path_factory.mktemp("confirmed") / "tiny")
    budget, seeds = {"steps": FULL, "report_every": EVERY}, {"seeds": 2, "samples": 3, "images": 10, "scores": []}
    spec = StudySpec(**raw(trials=1, budget=budget, confirm=seeds))
    run.create(spec)
    study = open_run(run, spec, create=True).study
    study.tell(study.ask(), state=confirming.TrialState.PRUNED)
    confirm(run, say=str)
    return run


@pytest.fixture
def copied(confirmed, tmp_path) -> Run:
    """A copy of it to change."""
    return Run(shutil.copytree(confirmed.path, tmp_path / "tiny"))


def change(run: Run, **changes: Any) -> None:
    """Other settings in the run's specification, as a person's editor would put them there."""
    given = yaml.safe_load(run.study_yaml.read_text())
    for group, values in changes.items():
        given[group].update(values)
    run.study_yaml.write_text(yaml.safe_dump(given))


def rows(run: Run) -> list[dict[str, Any]]:
    """The table without what each latent does, NaN as None."""
    frame = pd.read_parquet(run.table("confirm"))
    frame = frame[[column for column in frame if not column.startswith("latents.")]]
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def trainings(run: Run) -> dict[Path, bytes]:
    """The last checkpoints, which a training would write again."""
    return {path: path.read_bytes() for path in run.path.glob("confirm/*/last.pt")}


def afresh(run: Run, folder: Path) -> list[dict[str, Any]]:
    """What every job gives in a folder where nothing is, without the times; NaN as None."""
    spec = run.spec()
    return [flat(work(Run(folder), spec, job, None, CPU), spec) for job in jobs(open_run(run, spec))]


def results(run: Run) -> list[dict[str, Any]]:
    """The same of the rows of the table."""
    return [{**{key: row[f"metrics.{key}"] for key in TEST}, **_rest(row)} for row in rows(run)]


def _rest(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("valid_elbo", "steps", "cause")}


@pytest.mark.parametrize("changed", [{"samples": 5}, {"images": 20}])
def test_other_samples_or_images_are_read_again_without_training(copied, tmp_path, changed):
    before, kept, said = rows(copied), trainings(copied), []
    change(copied, confirm=changed)
    confirm(copied, say=said.append)
    assert len(said) == len(before)
    assert trainings(copied) == kept
    after = rows(copied)
    for old, new in zip(before, after):
        assert {key: new[key] for key in ("samples", "images")} == {"samples": 3, "images": 10, **changed}
        assert new["metrics.elbo"] == old["metrics.elbo"]
        assert new["metrics.log_likelihood"] != old["metrics.log_likelihood"]
    assert results(copied) == afresh(copied, tmp_path / "afresh")
    confirm(copied, say=said.append)
    assert len(said) == len(before)


@pytest.mark.parametrize("steps", [20, 60])
def test_another_budget_is_trained_from_the_start(copied, tmp_path, steps):
    change(copied, budget={"steps": steps})
    confirm(copied, say=str)
    assert [row["steps"] for row in rows(copied)] == [steps] * 2
    assert results(copied) == afresh(copied, tmp_path / "afresh")


def test_a_result_that_does_not_state_its_settings_is_read_again(copied):
    before, kept, said = rows(copied), trainings(copied), []
    for path in copied.path.glob(f"confirm/*/{RESULT}"):
        found = json.loads(path.read_text())
        path.write_text(
            json.dumps(
                {**dict.fromkeys(TEST, 0.5), **{key: found[key] for key in ("valid_elbo", "steps", "seconds", "cause")}}
            )
        )
    confirm(copied, say=said.append)
    assert len(said) == len(before)
    assert trainings(copied) == kept
    assert rows(copied) == before


def test_stopped_on_the_way_its_table_has_nothing_of_the_old_settings(copied, monkeypatch):
    change(copied, confirm={"samples": 5})

    def one(agenda: Agenda, *_: Any) -> int:
        task = next(agenda.ready())
        agenda.take(task, confirming.do(task, agenda.run, agenda.spec, None, CPU))
        return 15

    monkeypatch.setattr(confirming, "_work_all", one)
    assert confirm(copied) == 15
    found = rows(copied)
    assert [row["samples"] for row in found] == [5, 5]
    assert [row["metrics.log_likelihood"] is not None for row in found] == [True, False]
    assert all(row["metrics.elbo"] is not None for row in found)  # which no samples change


@pytest.fixture
def falling(monkeypatch) -> None:
    """Trainings whose validation ELBO falls from report to report."""
    sound = Training.evaluate

    def evaluate(training: Training) -> dict[str, float]:
        return {**sound(training), "elbo": -100.0 - training.step}

    monkeypatch.setattr(Training, "evaluate", evaluate)


def test_the_best_checkpoint_is_tested(confirmed, tmp_path, falling):
    spec = confirmed.spec()
    job = jobs(open_run(confirmed, spec))[0]
    found = work(Run(tmp_path), spec, job, None, CPU)
    assert (found.valid_elbo, found.steps) == (-100.0 - EVERY, FULL)
    splits = imagesets.load("mnist5k")
    training = Training(spec, job.candidate.settings, splits, seed=job.seed)
    training.advance(EVERY)
    assert flat(found, spec)["elbo"] == evaluate(training.model, Images(splits.test, part="test"))["elbo"]


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"PK no archive")])
def test_without_its_best_checkpoint_it_is_trained_again(confirmed, copied, spoil: Callable[[Path], Any]):
    spec = copied.spec()
    job = jobs(open_run(copied, spec))[0]
    folder = copied.confirmation(job.candidate.name, job.repeat)
    spoil(folder / checkpoint.BEST)
    found = work(copied, spec, job, None, CPU)
    assert found.cause == ""
    before = defined(rows(confirmed)[0])
    assert {key: flat(found, spec)[key] for key in TEST} == {key: before[f"metrics.{key}"] for key in TEST}
