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

import numpy as np
import pytest
from damage import CONFIRM, build, complete, damage, without_roots_privilege
from matplotlib.figure import Figure
from optuna.storages import RDBStorage
from optuna.storages._rdb.storage import _VersionManager

import analysis.__main__
from analysis.figures import style
from study import cli
from study.record import tables
from study.record.folder import Run, RunError
from study.trial.trial import LOG
from study.tune import cluster, runner

OF_ANALYSIS = ("table", "figures", "report")
READING = (
    ["status", "tiny"],
    ["doctor", "tiny"],
    ["table", "tiny"],
    ["export", "tiny", "--out", "exported"],
    ["figures", "tiny", "--format", "png"],
    ["report", "tiny"],
    ["evaluate", "runs/tiny/best"],
)
WRITING = (["resume", "tiny"], ["confirm", "tiny"], ["doctor", "tiny", "--fix"], ["status", "tiny"])
NEEDS = {  # all that these read of a run; the other commands are tried on every file
    "export": {"study.yaml", "optuna.db", "environment.json", "confirm.parquet", "trials/00000/best.pt"},
    "figures": {
        *(f"{name}.parquet" for name in ("results", "curves", "confirm")),
        *("study.yaml", "optuna.db", "trials/00000/best.pt"),
    },
    "report": {
        *(f"{name}.parquet" for name in ("results", "curves", "confirm")),
        *("study.yaml", "environment.json", "optuna.db", "trials/00000/best.pt"),
    },
    "evaluate": {"best/config.json", "best/model.safetensors"},
}
REMADE = {"figures", "report.html", *(f"{name}.parquet" for name in tables.TABLES)}  # by those of analysis
TWINS = {"half": {"00001", "00002"}, "whole": {"00001", "00002", "00003", "trial-0-0"}}  # of other trainings there


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


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Without what takes most of a command's time: Optuna's files of migrations, and the pixels of figures."""
    head = RDBStorage("sqlite://").get_head_version()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_VersionManager, "get_head_version", lambda _: head)
        patch.setattr(Figure, "savefig", lambda _, path, **__: path.write_bytes(b""))
        patch.setattr(style, "rendered", lambda _, changes: [np.zeros((1, 1, 3), np.uint8) for _ in changes])
        yield


def kinds(run: Path, state: str) -> list[Path]:
    """A run's files, relative to it; of trainings that are alike those of one, of what is never read again one each."""
    found: dict[Path | str, Path] = {}
    for path in sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file()):
        if path.parent.name in ("snapshots", "artifacts") or "tfevents" in path.name or path.name == LOG:
            found.setdefault(path.suffix, path)
        elif not TWINS[state] & {*path.parts}:
            found[path] = path
    return list(found.values())


def listing(folder: Path) -> dict[str, tuple[int, int] | None]:
    """Every path below a folder: a file's size and the time of its last change, None for a directory."""
    found = {}
    for path in sorted(folder.rglob("*")):
        at = path.lstat()
        found[str(path.relative_to(folder))] = None if path.is_dir() else (at.st_size, at.st_mtime_ns)
    return found


def restore(folder: Path, sound: Path) -> None:
    """Makes a folder what another one is, as it was copied from it."""
    expected, there = listing(sound), listing(folder)
    for name in there:
        path = folder / name
        if there[name] != expected.get(name, ()) and os.path.lexists(path):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in expected:
        path = folder / name
        if expected[name] is None:
            path.mkdir(exist_ok=True)
        elif not path.exists():
            shutil.copy2(sound / name, path)


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
    monkeypatch.chdir(tmp_path)

    def attempt(state: str, name: Path, how: str, commands: Sequence[list[str]]) -> list[str]:
        restore(tmp_path, made(state))
        run, complaints = Run(tmp_path / "runs" / "tiny"), []
        damage(run.path / name, how)
        before, files = truth(run), listing(run.path)
        for arguments in commands:
            with forbidden(run.path / name) if how == "forbidden" and files.get(str(name)) else nullcontext():
                found = [call(arguments)]
            if (after := truth(run)) != before:
                found.append("changed the study")
            now = listing(run.path)
            written = {path.split("/")[0] for path in files | now if files.get(path, ()) != now.get(path, ())}
            if arguments in READING and written - (REMADE if arguments[0] in OF_ANALYSIS else set()):
                found.append(f"wrote {sorted(written)}")
            complaints += [f"{name} {how}: {' '.join(arguments)} {what}" for what in found if what]
            before, files = after, now
        return complaints

    return attempt


@pytest.mark.long
@pytest.mark.parametrize("how", ["truncated", "emptied", "made a directory", "forbidden"])
@pytest.mark.parametrize("state", ["whole", "half"])
def test_no_damage_is_a_traceback_or_changes_the_study(made, tried, state, how):
    complaints = []
    for name in kinds(made(state) / "runs" / "tiny", state):
        reading = [command for command in READING if str(name) in NEEDS.get(command[0], (str(name),))]
        complaints += [*tried(state, name, how, reading), *tried(state, name, how, WRITING)]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in OF_ANALYSIS else name for name in NEEDS]
)
def test_a_command_that_is_tried_on_some_files_reads_no_others(made, command, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made("whole"), tmp_path, copy_function=shutil.copy2, dirs_exist_ok=True)
    (arguments,) = (command for command in READING if command[0] == name)
    app = analysis.__main__.app if name in OF_ANALYSIS else cli.app
    expected = command(*arguments, app=app)
    assert expected[0] == 0
    restore(tmp_path, made("whole"))
    for path in Path("runs/tiny").rglob("*"):
        if path.is_file() and str(path.relative_to("runs/tiny")) not in NEEDS[name]:
            path.unlink()
    assert command(*arguments, app=app) == expected
