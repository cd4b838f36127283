"""The test set is read by confirmation and nowhere else."""

from typing import Any

import pandas as pd
import pytest
import torch
from ended import EVERY, FULL, searched

import analysis
import imagesets
from imagesets import Splits
from study import solo, tasks
from study.confirm import jobs
from study.record.folder import Run
from study.tasks import work
from study.trial.trial import Trial

CPU = torch.device("cpu")
TIMES = ("seconds", "cpu_seconds", "reported")


class Poison:
    """Cannot be looked at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the test set was read: {name}")


@pytest.fixture
def poisoned() -> Splits:
    return imagesets.load("mnist5k")._replace(test=Poison())


def test_the_poison_works(make, tmp_path, poisoned, monkeypatch):
    spec = make()
    monkeypatch.setattr(tasks, "load_data", lambda *_: poisoned)
    job = jobs(searched(spec, Run(tmp_path / "tiny")))[0]
    assert "the test set was read" in work(Run(tmp_path / "tiny"), spec, job, None, CPU).cause


def test_a_trial_does_not_read_the_test_set(make, poisoned, tmp_path):
    found = []
    for splits in (imagesets.load("mnist5k"), poisoned):
        trial = Trial(make(), make().defaults(), splits, seed=1, folder=tmp_path / str(len(found)))
        reports = []
        while not trial.done:
            reports.append({key: value for key, value in trial.report().items() if key not in (*TIMES, "peak_memory")})
        trial.close()
        found.append(reports)
    assert found[0] == found[1]
    assert [report["steps"] for report in found[0]] == [EVERY, FULL]


def test_train_does_not_read_the_test_set(make, poisoned, tmp_path, monkeypatch):
    spec = make()
    solo.train(spec, Run(tmp_path / "clean"))
    monkeypatch.setattr(imagesets, "load", lambda *_: poisoned)
    solo.train(spec, Run(tmp_path / "poisoned"))
    clean, other = (analysis.curves(tmp_path / name).drop(columns=["study", *TIMES]) for name in ("clean", "poisoned"))
    pd.testing.assert_frame_equal(clean, other)
    assert len(clean) == FULL // EVERY


def test_a_search_does_not_read_the_test_set(make, poisoned, tmp_path, monkeypatch):
    """Ray's adapter, called as Ray calls it."""
    from study.tune import trainable

    monkeypatch.setattr(trainable, "load_data", lambda *_: poisoned)
    spec = make()
    Run(tmp_path / "tiny").create(spec)
    config = {"number": 0, "run": str(tmp_path / "tiny"), "mark": "", "spec": spec, "data": None}
    worker = object.__new__(trainable.Trainable)
    worker.setup({**config, "settings": spec.defaults()})
    results = [worker.step() for _ in range(FULL // EVERY)]
    worker.cleanup()
    assert [(result["cause"], result["done"], result["steps"]) for result in results] == [
        ("", False, 20),
        ("", True, 40),
    ]
