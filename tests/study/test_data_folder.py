"""Where the data lies, as a search and a confirmation tell their workers: those have another working folder."""

import pytest

from study import confirm as confirming
from study import solo
from study.record.folder import Run
from study.record.storage import open_run
from study.spec import StudySpec
from study.tune.searcher import HandOut


@pytest.fixture(params=["option", "environment"])
def given(request, tmp_path, monkeypatch, data) -> str | None:
    """A relative data folder, as an option, or None where the environment says it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").symlink_to(data)
    if request.param == "option":
        return "mine"
    monkeypatch.setenv("LATENTSWEEP_DATA", "mine")
    return None


def test_a_search_tells_its_workers_the_whole_path(given, raw, tmp_path):
    spec, run = StudySpec(**raw()), Run(tmp_path / "tiny")
    run.create(spec)
    searcher = HandOut(open_run(run, spec, create=True), given, [])
    assert searcher.suggest("first")["data"] == str(tmp_path / "mine")


def test_a_confirmation_tells_its_workers_the_whole_path(given, raw, tmp_path, monkeypatch):
    run, told = Run(tmp_path / "tiny"), []
    solo.train(StudySpec(**raw(budget={"steps": 10})), run, data=given)
    monkeypatch.setattr(confirming, "_work_all", lambda agenda, data, *_: told.append(str(data)))
    confirming.confirm(run, data=given)
    assert told == [str(tmp_path / "mine")]
