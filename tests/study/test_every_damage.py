"""Every file of a run is truncated, emptied, made a directory and forbidden in turn, and every command is tried on it.

A command says in a line what is wrong, or gives a right result; the study stays what it was; who reads writes nothing.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from damage import CONFIRM, build, complete, digests, without_roots_privilege

import analysis.__main__
from study import cli
from study.record import tables
from study.record.folder import Run, RunError
from study.tune import cluster, runner

OF_ANALYSIS = ("table", "figures")
READING = (
    ["status", "tiny"],
    ["doctor", "tiny"],
    ["export", "tiny", "--out", "exported"],
    ["evaluate", "runs/tiny/best"],
    ["table", "tiny"],
    ["figures", "tiny"],
)
WRITING = (["resume", "tiny"], ["confirm", "tiny"], ["doctor", "tiny", "--fix"], ["status", "tiny"])
DRAWN = ("best.pt", *(f"{name}.parquet" for name in (*tables.TABLES, "confirm")), "study.yaml", "optuna.db", ".lock")
REMADE = {"figures", *(f"{name}.parquet" for name in tables.TABLES)}  # by `table` and `figures`


@pytest.fixture(scope="module")
def made(raw, data, tmp_path_factory) -> Callable[[str], Path]:
    """Makes a run once, `half` finished, or `whole`: confirmed and exported; returns the folder that holds `runs`."""
    folders: dict[str, Path] = {}

    def make(state: str) -> Path:
        if state not in folders:
            folders[state] = tmp_path_factory.mktemp(state)
            run = build(raw, folders[state], confirm=CONFIRM)
            with run.locked():
                pass
            if state == "whole":
                complete(run)
        return folders[state]

    return make


def kinds(run: Path) -> list[Path]:
    """A run's files, relative to it; of trainings those of the best trial, of the last and of one confirmation."""
    found: dict[Path | str, Path] = {}
    for path in sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file()):
        written = path.parent.name == "snapshots" or "tfevents" in path.name  # and never read again
        if not {"00001", "00002", "trial-0-0"} & {*path.parts}:
            found.setdefault(path.suffix if written else path, path)
    return list(found.values())


def damage(path: Path, how: str) -> None:
    if how == "made a directory":
        path.unlink()
        path.mkdir()
    elif how != "forbidden":
        os.truncate(path, path.stat().st_size // 2 if how == "truncated" else 0)


@contextmanager
def forbidden(path: Path) -> Iterator[None]:
    """A file that may not be read or written, while the context lasts."""
    mode = path.stat().st_mode
    path.chmod(0)
    with without_roots_privilege():
        with pytest.raises(PermissionError):
            path.read_bytes()
        yield
    if path.exists():
        path.chmod(mode)


def truth(run: Run) -> list[str] | bytes:
    """What the study holds; of a database that is damaged, what is left of it."""
    try:
        with sqlite3.connect(f"{run.database.as_uri()}?mode=ro", uri=True) as connection:
            return list(connection.iterdump())
    except sqlite3.DatabaseError:
        return run.database.read_bytes() if run.database.is_file() else b""


@pytest.fixture
def call(command, monkeypatch) -> Callable[[list[str]], str]:
    """Calls a command, and says what is wrong with how it ended; nothing where nothing is. Ray is refused."""

    def refuse(*_: Any) -> None:
        raise RunError("Ray is not started here")

    monkeypatch.setattr(cluster, "ray_started", refuse)
    monkeypatch.setattr(runner, "ray_started", refuse)

    def wrong(arguments: list[str]) -> str:
        app = analysis.__main__.app if arguments[0] in OF_ANALYSIS else cli.app
        try:
            code, out, err = command(*arguments, app=app)
        except (Exception, pytest.fail.Exception) as error:
            return f"raised {type(error).__name__}: {error}"
        if code not in range(4):
            return f"exited with {code}"
        if "Traceback" in out + err or len(err.splitlines()) > 20 or not out + err:
            return f"said: {out + err}"
        return ""

    return wrong


@pytest.fixture
def tried(made, call, tmp_path, monkeypatch) -> Callable[..., list[str]]:
    """Damages a file of a copy of a run and calls commands on it: what is not as it should be, a line each."""

    def attempt(state: str, name: Path, how: str, commands: Sequence[list[str]]) -> list[str]:
        place = tmp_path / str(len(os.listdir(tmp_path)))
        shutil.copytree(made(state), place, copy_function=shutil.copy2)
        monkeypatch.chdir(place)
        run, complaints = Run(place / "runs" / "tiny"), []
        damage(run.path / name, how)
        for arguments in commands:
            before, files = truth(run), digests(run.path)
            with forbidden(run.path / name) if how == "forbidden" and files.get(str(name)) else nullcontext():
                found = [call(arguments)]
            if truth(run) != before:
                found.append("changed the study")
            now = digests(run.path)
            written = {path.split("/")[0] for path in files | now if files.get(path) != now.get(path)}
            if arguments in READING and written - (REMADE if arguments[0] in OF_ANALYSIS else set()):
                found.append(f"wrote {sorted(written)}")
            complaints += [f"{name} {how}: {' '.join(arguments)} {what}" for what in found if what]
        shutil.rmtree(place)
        return complaints

    return attempt


CASES = [
    pytest.param(state, how, marks=[] if (state, how) == ("whole", "truncated") else pytest.mark.long)
    for state in ("whole", "half")
    for how in ("truncated", "emptied", "made a directory", "forbidden")
]


@pytest.mark.parametrize(("state", "how"), CASES)
def test_no_damage_is_a_traceback_or_changes_the_study(made, tried, state, how):
    complaints = []
    for name in kinds(made(state) / "runs" / "tiny"):
        reading = [command for command in READING if command[0] != "figures" or name.name in DRAWN]
        complaints += [*tried(state, name, how, reading), *tried(state, name, how, WRITING)]
    assert not complaints, "\n".join(complaints)
