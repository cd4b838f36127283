"""What the adapter to Ray Tune does when Ray hands it a trial."""

import errno
import pickle
import platform
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from study.record import folder
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


@pytest.mark.parametrize("there", ["nothing", "another run of that name", "a copy of the run"])
def test_a_machine_that_does_not_see_the_run_halts_the_search(raw, tmp_path: Path, monkeypatch, there):
    """Its trials would be written where nobody looks for them."""
    monkeypatch.setattr(folder, "LATE", 0.3)
    spec, run, elsewhere = StudySpec(**raw()), Run(tmp_path / "tiny"), Run(tmp_path / "elsewhere" / "tiny")
    run.create(spec)
    with run.locked():
        run.mark()
        if there == "another run of that name":
            elsewhere.create(spec)
        elif there == "a copy of the run":
            shutil.copytree(run.path, elsewhere.path)
        mark = run.mark()
        config = HandOut(open_run(run, spec, create=True), None, []).suggest("first")
    assert config["mark"] == mark != ""
    before = sorted(elsewhere.path.rglob("*"))
    worker = object.__new__(trainable.Trainable)
    worker.setup({**config, "run": str(elsewhere.path)})
    result = worker.step()
    assert (result["done"], result["halt"]) == (True, True)
    what = f"does not see {elsewhere.path}, where" if there == "nothing" else f"sees another {elsewhere.path} than"
    assert result["cause"].startswith("disk: ")
    assert f"{platform.node()} {what} " in result["cause"]
    assert sorted(elsewhere.path.rglob("*")) == before


def test_a_disk_without_room_for_the_mark_has_none(raw, tmp_path: Path, monkeypatch):
    run = Run(tmp_path / "tiny")
    run.create(StudySpec(**raw()))

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    run.check_seen(run.mark())
