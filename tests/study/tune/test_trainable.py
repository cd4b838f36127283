"""What the adapter to Ray Tune does when Ray hands it a trial."""

import pickle
from pathlib import Path
from typing import Any

import torch

from study.record.folder import Run
from study.record.storage import open_run
from study.spec import StudySpec, checks
from study.tune import trainable
from study.tune.searcher import HandOut


def test_a_worker_does_not_check_the_specification_again(raw, tmp_path: Path, monkeypatch):
    spec, run = StudySpec(**raw()), Run(tmp_path / "tiny")
    run.create(spec)
    searcher = HandOut(open_run(run, spec, create=True), None, [])
    config = pickle.loads(pickle.dumps(searcher.suggest("first")))

    def refuse(_: Any) -> list[str]:
        raise AssertionError("the specification was checked")

    monkeypatch.setattr(checks, "CHECKS", [((), refuse)])
    monkeypatch.setattr(trainable, "device", lambda _: torch.device("cpu"))
    worker = object.__new__(trainable.Trainable)
    worker.setup(config)
    assert worker.failure is None
    assert worker.trial is not None
    assert worker.trial.spec == spec
    worker.cleanup()


def test_a_machine_that_does_not_see_the_run_halts_the_search(raw, tmp_path: Path):
    """Its trials would be written where nobody looks for them."""
    config = {"number": 0, "run": str(tmp_path / "elsewhere"), "data": None, "spec": StudySpec(**raw()), "settings": {}}
    worker = object.__new__(trainable.Trainable)
    worker.setup(config)
    result = worker.step()
    assert (result["done"], result["halt"]) == (True, True)
    assert result["cause"].startswith("disk: ")
    assert f"does not see {tmp_path / 'elsewhere'}, where the run lies" in result["cause"]
    assert not (tmp_path / "elsewhere").exists()
