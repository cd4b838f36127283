"""Confirmation: the defaults and the best over fresh seeds, on the test set, with numbers that can be made again."""

import errno
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ended import FULL, SEARCH, SEEDS, Given, searched
from here import TEST, defined, flat
from optuna.trial import TrialState
from ray.exceptions import RayTaskError

import analysis
import imagesets
from analysis.tables import confirmation
from study import confirm as confirming
from study.confirm import confirm, jobs
from study.record.folder import Run, RunError
from study.record.storage import open_run
from study.signals import Stop
from study.spec import StudySpec
from study.spec.measures import METRICS
from study.spec.problems import MachineError
from study.tasks import work
from study.trial.evaluation import evaluate, importance_weighted, probe_accuracies
from study.trial.images import Images
from study.trial.training import Training

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def confirmed(make, ray_up, tmp_path_factory) -> tuple[Run, list[str]]:
    """A confirmed run, and what was said meanwhile."""
    run, said = Run(tmp_path_factory.mktemp("confirmed") / "tiny"), []
    searched(make(), run)
    assert confirm(run, say=said.append) is None
    return run, said


@pytest.fixture
def copied(confirmed, tmp_path) -> Run:
    """A copy of it to spoil."""
    return Run(shutil.copytree(confirmed[0].path, tmp_path / "tiny"))


def rows(run: Run) -> list[dict[str, Any]]:
    """The table, NaN as None, without the times."""
    frame = pd.read_parquet(run.table("confirm")).drop(columns=["seconds", "cpu_seconds"])
    frame = frame[[column for column in frame if not column.startswith("latents.")]]
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def test_the_table_has_a_row_for_each_configuration_and_seed(confirmed):
    run, _ = confirmed
    frame, spec = pd.read_parquet(run.table("confirm")), run.spec()
    names = ["defaults", "trial-2", "trial-1"]
    assert list(zip(frame.configuration, frame.repeat)) == [(name, repeat) for repeat in (0, 1) for name in names]
    about = {"study": "tiny", "model": "vae", "dataset": "mnist5k", "likelihood": "bernoulli"}
    about |= {"kind": "soft cross-entropy", "cause": "", "steps": FULL, "samples": 8, "images": 40}
    assert all((frame[key] == value).all() for key, value in about.items())
    assert list(frame.seed) == [job.seed for job in jobs(open_run(run, spec))]
    assert list(frame["params.lr"]) == [1e-3, 2e-3, 4e-3] * 2
    assert {column for column in frame if column.startswith("params.")} == {f"params.{key}" for key in spec.defaults()}
    assert {column for column in frame if column.startswith("metrics.")} == {f"metrics.{key}" for key in TEST}
    defined = [f"metrics.{key}" for key in TEST if key != "bits"]  # a soft cross-entropy has none
    assert np.isfinite(frame[[*defined, "valid_elbo", "seconds", "cpu_seconds"]]).all(axis=None)
    assert frame["metrics.bits"].isna().all()
    assert frame["metrics.elbo"].nunique() == len(frame)
    assert frame["metrics.accuracy"].between(0, 1).all()


def test_each_latent_of_each_seed_is_a_row(confirmed):
    run, _ = confirmed
    frame, seeds = analysis.latents(run.path), analysis.confirmed(run.path)
    by_seed = frame.groupby(["configuration", "repeat"], sort=False)
    assert len(by_seed) == len(seeds)
    latent = seeds["params.latent"].iloc[0]
    assert by_seed.latent.apply(list).tolist() == [list(range(latent))] * len(seeds)
    np.testing.assert_allclose(by_seed.kl.sum(), seeds["metrics.kl"], rtol=1e-5)
    assert by_seed.variance.apply(lambda of: (of > 0.01).sum()).tolist() == seeds["metrics.active_units"].tolist()
    assert (frame.zero_fraction == 0).all()


def test_a_line_was_said_for_every_training(confirmed):
    run, said = confirmed
    elbos = {f"{row['configuration']}, seed {row['repeat'] + 1} of 2": row["metrics.elbo"] for row in rows(run)}
    assert sorted(line.partition(":")[0] for line in said) == sorted(elbos)
    for line in said:
        what, _, found = line.partition(": ")
        assert found.startswith(f"test elbo {elbos[what]:.2f}, ")
    assert [re.search(r" s   \(([0-9]) of 6(, about [0-9.]+ (s|min) left)?\)$", line)[1] for line in said] == [
        *"123456"
    ]
    assert ["left" in line for line in said] == [True] * 5 + [False]


def test_the_same_configuration_and_seed_give_the_same_row_elsewhere(confirmed, tmp_path):
    """`work` in another process and another folder, in another order."""
    run, _ = confirmed
    spec = run.spec()
    made = jobs(open_run(run, spec))
    for job, row in list(zip(made, rows(run)))[::-5]:
        found, row = flat(work(Run(tmp_path), spec, job, None, CPU), spec), defined(row)
        assert {key: found.pop(key) for key in TEST} == {key: row[f"metrics.{key}"] for key in TEST}
        assert found == {key: row[key] for key in ("valid_elbo", "steps", "cause")}


def test_a_training_by_hand_gives_the_same_numbers(confirmed):
    run, _ = confirmed
    spec, splits, row = run.spec(), imagesets.load("mnist5k"), rows(run)[4]
    settings = {**spec.fixed, "lr": row["params.lr"]}
    training = Training(spec, settings, splits, seed=row["seed"])
    training.advance(FULL)
    test = Images(splits.test, part="test")
    found = evaluate(training.model, test, test=True)
    assert found == {key: row[f"metrics.{key}"] for key in METRICS if key in TEST}
    assert training.evaluate()["elbo"] == row["valid_elbo"]
    weighted = importance_weighted(training.model, test, samples=8, first=40)
    assert weighted.log_likelihood.mean() == row["metrics.log_likelihood"]
    assert weighted.effective_samples.mean() == row["metrics.effective_samples"]
    error = np.sqrt((weighted.standard_error**2).sum()) / 40
    assert error == pytest.approx(row["metrics.log_likelihood_error"], rel=1e-12)
    probes = probe_accuracies(training.model, training.train_images, test)
    assert probes == [row["metrics.accuracy"], row["metrics.accuracy_mlp"]]


def test_a_second_confirmation_does_nothing_and_starts_no_ray(confirmed, no_ray):
    run, _ = confirmed
    before, said = rows(run), []
    assert confirm(run, say=said.append) is None
    assert (rows(run), said) == (before, [])


@pytest.mark.parametrize("lost", ["result", "folder", "process"])
def test_a_result_that_is_gone_is_made_again_and_no_other(copied, lost):
    before, said = rows(copied), []
    folder = copied.confirmation("trial-2", 1)
    if lost == "result":
        (folder / "result.json").unlink()
    elif lost == "process":
        found = json.loads((folder / "result.json").read_text())
        (folder / "result.json").write_text(json.dumps({**found, "cause": "lost: WorkerCrashedError"}))
    else:
        shutil.rmtree(folder)
    confirm(copied, say=said.append)
    assert len(said) == 1
    assert said[0].startswith("trial-2, seed 2 of 2: test elbo ")
    assert rows(copied) == before


def test_stopped_by_a_signal_it_keeps_what_is_done_and_goes_on(copied, monkeypatch):
    before = rows(copied)
    for repeat in range(SEEDS):
        shutil.rmtree(copied.confirmation("trial-1", repeat))
    shutil.rmtree(copied.confirmation("defaults", 1))
    stop, commands, said = Stop(), [], []

    @contextmanager
    def stopping(how_to_go_on: Callable[[], str]) -> Iterator[Stop]:
        commands.append(how_to_go_on())
        yield stop

    def say(line: str) -> None:
        said.append(line)
        stop.signal = 15

    with monkeypatch.context() as patch:
        patch.setattr(confirming, "stopping_on_signals", stopping)
        assert confirm(copied, say=say) == 15
    assert commands == [f"python -m study confirm {copied.path}"]
    done = rows(copied)
    assert len(done) == 3 + len(said) < len(before)
    assert all(row in before for row in done)
    confirm(copied, say=said.append)
    assert len(said) == 3
    assert rows(copied) == before


def test_a_configuration_that_fails_is_a_row_with_its_cause(make, ray_up, tmp_path, monkeypatch):
    run, said = Run(tmp_path / "tiny"), []
    searched(make(confirm={"top": 1, "seeds": SEEDS, "samples": 8, "images": 40, "scores": []}), run)
    sound = StudySpec.defaults
    monkeypatch.setattr(StudySpec, "defaults", lambda spec: {**sound(spec), "lr": 1e18})
    confirm(run, say=said.append)
    frame = pd.read_parquet(run.table("confirm"))
    broken, fine = frame[frame.configuration == "defaults"], frame[frame.configuration == "trial-2"]
    assert len(broken) == len(fine) == SEEDS
    assert broken.cause.str.fullmatch("nan: the (loss of 'elbo'|validation ELBO) was not finite at step [0-9]+").all()
    assert broken[[f"metrics.{key}" for key in TEST] + ["valid_elbo", "seconds", "cpu_seconds"]].isna().all(axis=None)
    assert (broken["params.lr"] == 1e18).all()
    assert (fine.cause == "").all()
    assert fine["metrics.elbo"].notna().all()
    assert sum(any(cause in line for cause in broken.cause) for line in said) == SEEDS
    summary = confirmation(analysis.confirmed(run.path)).set_index("configuration")
    assert list(summary.loc["defaults", ["seeds", "failed"]]) == [0, SEEDS]
    assert list(summary.loc["trial-2", ["seeds", "failed"]]) == [SEEDS, 0]
    confirm(run, say=said.append)  # a failure is a result
    assert len(said) == 2 * SEEDS


def test_a_mistake_in_the_work_is_a_cause_too(make, tmp_path):
    spec = make()
    job = jobs(searched(spec, Run(tmp_path / "tiny")))[0]
    broken = job._replace(candidate=job.candidate._replace(settings={"latnet": 3}))
    found = work(Run(tmp_path / "tiny"), spec, broken, None, CPU)
    assert found.cause.startswith("crash: ModelError: vae: latnet: ")
    assert (found.values, found.steps) == ((), 0)


@pytest.mark.parametrize("given", [SEARCH[:4], (*SEARCH[:4], Given(1e-3, TrialState.RUNNING, math.nan))])
def test_it_is_refused_before_the_search_is_finished(make, tmp_path, no_ray, given, command):
    run = Run(tmp_path / "tiny")
    searched(make(), run, given)
    message = f"the search is not finished; go on with `python -m study resume {run.path}` first"
    with pytest.raises(RunError) as refused:
        confirm(run)
    assert str(refused.value) == message
    assert command("confirm", run.path) == (2, "", message + "\n")
    assert not run.table("confirm").exists()


def test_it_is_refused_while_another_process_holds_the_run(confirmed, no_ray):
    run, _ = confirmed
    with run.locked(), pytest.raises(RunError, match="in use"):
        confirm(run)


def test_the_command_line_says_where_the_table_is(confirmed, command, no_ray):
    run, _ = confirmed
    assert command("confirm", run.path) == (0, f"table: python -m analysis table {run.path}\n", "")


def test_the_command_line_ends_with_the_code_of_the_signal(confirmed, command, monkeypatch):
    monkeypatch.setattr(confirming, "confirm", lambda *_, **__: 15)
    assert command("confirm", confirmed[0].path)[0] == 143


def test_the_folder_of_a_confirmation_is_its_own(confirmed):
    run, _ = confirmed
    names = {f"{name}-{repeat}" for name in ("defaults", "trial-1", "trial-2") for repeat in range(SEEDS)}
    assert {path.name for path in (run.path / "confirm").iterdir()} == names
    assert not Path(run.path / "trials").exists()  # that of this search, which trained nothing


def test_what_a_machine_that_does_not_see_the_run_raises_ends_the_confirmation():
    """As Ray hands it on, which makes one exception of two."""

    def handed_on(error: Exception) -> Exception:
        return RayTaskError("done", "", error, proctitle="", pid=1, ip="10.0.0.2").as_instanceof_cause()

    with pytest.raises(MachineError, match=r"^one does not see /runs/tiny\ngo on with: the same command$"):
        confirming._check_seen(handed_on(OSError(errno.ESTALE, "one does not see /runs/tiny")), Stop())
    confirming._check_seen(handed_on(ValueError("of another kind")), Stop())
