"""Trials that train together leave in their folders what each alone would leave."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from shapes import splits_for
from trainings import sizes

from study.spec import StudySpec
from study.trial import checkpoint
from study.trial.together import train_together
from study.trial.trial import Trial, cause

SEEDS = (1, 2, 3)
TIMES = ("seconds", "cpu_seconds", "reported", "peak_memory")


@pytest.fixture
def trials(small, splits):
    """Opens the trials of a configuration in a folder."""

    def make(folder: Path, model="vae", **changes: Any) -> list[Trial]:
        budget = {"steps": 12, "batch": 16, "log_every": 2, "report_every": 4}
        spec: StudySpec = small(model, budget=budget, **changes)
        settings, shown = {**sizes(model), "lr": 1e-3}, splits_for(model, splits)
        return [Trial(spec, settings, shown, seed=seed, folder=folder / str(seed)) for seed in SEEDS]

    return make


def finished(trials: list[Trial]) -> list[Trial]:
    """Each trained alone."""
    for trial in trials:
        while not trial.done:
            trial.report()
        trial.close()
    return trials


def check_alike(folder: Path, other: Path, fused: tuple[bool, ...]) -> None:
    """Of the seeds the checkpoints with their reports, but for how long it took."""
    for seed, expected in zip(SEEDS, fused, strict=True):
        for name in (checkpoint.LAST, checkpoint.BEST):
            paths = folder / str(seed) / name, other / str(seed) / name
            ours, theirs = map(checkpoint.load, paths)
            assert (ours["fused"], theirs["fused"]) == (expected, False)
            torch.testing.assert_close(ours["training"], theirs["training"], rtol=1e-4, atol=1e-6)
            assert numbers(ours["report"]) == pytest.approx(numbers(theirs["report"]), rel=1e-4, nan_ok=True)
            assert paths[0].stat().st_size < 1.02 * paths[1].stat().st_size  # and no other's weights


def numbers(report: dict[str, Any]) -> dict[str, float]:
    losses = {f"loss_{step}": values["elbo"] for step, values in report["train"]}
    others = {key: value for key, value in report.items() if isinstance(value, int | float) and key not in TIMES}
    return {**losses, **others}


def log(folder: Path, seed: int) -> str:
    return (folder / str(seed) / "log").read_text()


def test_each_has_its_own_folder_and_curve_and_its_share_of_the_time(trials, tmp_path):
    finished(trials(tmp_path / "alone"))
    made, started = trials(tmp_path / "together"), time.process_time()
    assert train_together(made) == {}
    assert 0 < sum(trial.cpu_seconds for trial in made) < time.process_time() - started  # nothing counts twice
    check_alike(tmp_path / "together", tmp_path / "alone", (True, True, True))
    for trial in made:
        assert trial.done
        assert len(list((trial.folder / "snapshots").iterdir())) == 2 * 3  # a report's picture and its numbers
        assert "trains as one of 3 seeds" in log(tmp_path / "together", trial.seed)


def test_those_that_are_behind_catch_up_alone_and_one_that_is_done_is_left_alone(trials, tmp_path):
    finished(trials(tmp_path / "alone"))
    first, second, third = trials(tmp_path / "together")
    finished([first])
    for trial in (second, second, third):
        trial.report()
    again = trials(tmp_path / "together")
    assert [trial.training.step for trial in again] == [12, 8, 4]
    assert train_together(again) == {}
    check_alike(tmp_path / "together", tmp_path / "alone", (False, True, True))
    assert "trains as one of 2 seeds" in log(tmp_path / "together", 3)


@pytest.mark.long
def test_a_model_that_cannot_be_fused_trains_alone_and_its_log_says_why(trials, tmp_path):
    finished(trials(tmp_path / "alone", "savae"))
    assert train_together(trials(tmp_path / "together", "savae")) == {}
    check_alike(tmp_path / "together", tmp_path / "alone", (False, False, False))
    for seed in SEEDS:
        assert "trains alone: RuntimeError: element 0 of tensors" in log(tmp_path / "together", seed)


def test_one_that_fails_has_its_own_error_and_the_others_go_on(trials, tmp_path):
    finished(trials(tmp_path / "alone"))
    made = trials(tmp_path / "together")
    reported = made[1].report

    def spoilt(*given):
        found = reported(*given)
        with torch.no_grad():
            made[1].training.model.decoder[-2].bias[0] = torch.nan
        return found

    made[1].report = spoilt
    failed = train_together(made)
    ((trial, error),) = failed.items()
    assert trial.seed == 2
    assert cause(error).startswith("nan: the loss of 'elbo' was not finite at step 4; before, collapsed: ")
    shutil.copytree(tmp_path / "alone" / "2", tmp_path / "together" / "2", dirs_exist_ok=True)
    check_alike(tmp_path / "together", tmp_path / "alone", (True, False, True))


def test_what_is_fused_is_not_compiled_and_the_log_says_so(trials, tmp_path):
    assert train_together(trials(tmp_path, compiled=True)) == {}
    assert "trains as one of 3 seeds, which are not compiled" in log(tmp_path, 1)
    assert checkpoint.load(tmp_path / "1" / checkpoint.LAST)["fused"]
