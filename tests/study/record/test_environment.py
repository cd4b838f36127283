"""What environment.json says of the code: the commit that it is of, and none that it is not of."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from study.record import folder
from study.record.folder import Run
from study.spec import StudySpec


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """Somebody's repository with one commit, which the packages are installed in the folder of."""
    if shutil.which("git") is None:
        pytest.skip("git is not on this machine")
    installed = tmp_path / "venv" / "study" / "record" / "folder.py"
    installed.parent.mkdir(parents=True)
    installed.touch()
    (tmp_path / "theirs.py").touch()
    git(tmp_path, "init", "--quiet")
    commit(tmp_path, "theirs.py")
    monkeypatch.setattr(folder, "__file__", str(installed))
    return tmp_path


def git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), "-c", "user.name=me", "-c", "user.email=me@here", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(repository: Path, path: str) -> str:
    git(repository, "add", path)
    git(repository, "commit", "--quiet", "--message", path)
    return git(repository, "rev-parse", "HEAD")


def test_a_repository_that_it_is_only_installed_in_is_not_its_own(repository):
    found = folder.environment()
    assert (found["commit"], found["changed"]) == (None, None)


def test_the_commit_and_whether_something_was_changed(repository):
    head = commit(repository, "venv")
    found = folder.environment()
    assert (found["commit"], found["changed"]) == (head, False)
    (repository / "theirs.py").write_text("changed = True\n")
    found = folder.environment()
    assert (found["commit"], found["changed"]) == (head, True)


def test_the_version_of_what_is_installed(monkeypatch, tmp_path, raw):
    monkeypatch.setattr(folder, "version", lambda package: f"{package} 1.0")
    run = Run(tmp_path / "tiny")
    run.create(StudySpec(**raw()))
    assert json.loads(run.environment.read_text())["packages"]["latentsweep"] == "latentsweep 1.0"
