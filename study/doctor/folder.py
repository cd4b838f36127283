"""The run folder by itself: the files that a run was made with, and what deaths leave in it."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from study.doctor.case import DAMAGED, Case, Fault, beside
from study.record import backend, tables
from study.record.confirmation import RESULT
from study.record.folder import RunError
from study.record.start import read as learns_first_of
from study.record.storage import SPEC
from study.trial.checkpoint import BEST, LAST, PREVIOUS
from study.trial.files import WRITER, abandoned, may_be_alive, write_whole

# of `write_whole`, and SQLite's own beside it
TEMPORARY = re.compile(rf"\..+\.(?:yaml|json|db|journal|pt|parquet|npz|png|html)\.{WRITER}(?:-journal)?")
OF_A_RUN = {"study.yaml", "environment.json"}
OF_AN_EXPORT = {"model.safetensors", "config.json", "model.py", "metrics.json", "README.md"}


def directories(case: Case) -> list[Fault]:
    """Directories that stand where a file belongs, which nothing can be written over."""
    run = case.run
    names = [run.study_yaml, run.environment, run.database, run.journal, *map(run.table, (*tables.TABLES, "confirm"))]
    kept = [path for name in (LAST, PREVIOUS, BEST, RESULT) for path in run.path.glob(f"*/*/{name}")]
    return [
        Fault(f"{path} is a directory; --fix renames it to {aside.name}", functools.partial(os.rename, path, aside))
        for path in (*names, *sorted(kept))
        if path.is_dir()
        for aside in [beside(path, DAMAGED)]
    ]


def specification(case: Case) -> list[Fault]:
    """study.yaml, which the study holds a copy of."""
    run = case.run
    if case.spec is not None:
        return []
    what = "study.yaml is missing"
    if run.study_yaml.is_file():
        try:
            run.spec()
        except RunError as error:
            what = f"study.yaml is damaged ({str(error).splitlines()[0].rpartition('any more: ')[2]})"
    copy = case.study.user_attrs.get(SPEC) if case.study else None
    if copy is None:
        return [Fault(f"{what}, and no study lies in the folder that could say what it was; bring it from a backup")]

    def make_again() -> None:
        if run.study_yaml.is_file():
            os.replace(run.study_yaml, beside(run.study_yaml, DAMAGED))
        write_whole(run.study_yaml, lambda path: path.write_text(copy, encoding="utf-8"))

    return [Fault(f"{what}; --fix makes it again from the study", make_again)]


def environment(case: Case) -> list[Fault]:
    """environment.json, which nothing else says; tables take the commit from it."""
    file = case.run.environment
    if file.is_dir() or case.run.made_with():
        return []
    damaged = file.is_file()
    if damaged:
        file.read_bytes()  # what may not be read may be sound

    def note_the_loss() -> None:
        if damaged:
            os.replace(file, beside(file, DAMAGED))
        write_whole(file, lambda path: path.write_text(json.dumps({"commit": None, "lost": True}) + "\n"))

    what = "damaged" if damaged else "missing"
    lost = "the versions and the commit of the run are not known any more"
    return [Fault(f"{file.name} is {what}: {lost}; --fix notes that", note_the_loss)]


def start(case: Case) -> list[Fault]:
    """start.json, without which a search that learns of another run does not go on."""
    try:
        learns_first_of(case.run)
    except RunError as error:
        return [Fault(str(error))]
    return []


def leftovers(case: Case) -> list[Fault]:
    """Files that a process which is gone was writing, and the folders of runs and exports that it was making."""
    if case.held:  # its workers may be on another machine
        return []
    run = case.run
    files = [
        path
        for path in _files(run.path, besides=run.ray)
        if (match := TEMPORARY.fullmatch(path.name)) and not may_be_alive(match)
    ]
    exports = {path.with_name(path.name[1:].rpartition(".")[0]) for path in run.path.glob(".?*.[0-9]*")}
    half = [path for whole in (run.path, *sorted(exports)) for path in abandoned(whole) if _is_half_made(path)]
    what = "was being written by a process that is gone; --fix removes it"
    return [
        *(Fault(f"{path} {what}", path.unlink) for path in files),
        *(Fault(f"{path} {what}", functools.partial(shutil.rmtree, path)) for path in half),
    ]


def _is_half_made(folder: Path) -> bool:
    """Whether a folder holds nothing that `run` or `export` did not write."""
    return {path.name for path in folder.iterdir()} <= OF_A_RUN | OF_AN_EXPORT


def journal(case: Case) -> list[Fault]:
    """What the death of its writer leaves in a journal."""
    file = case.run.journal
    if case.held or not file.is_file():
        return []
    lock = file.with_name(f"{file.name}.lock")
    found = [f"{lock.name} was left by a process that is gone"] if lock.is_symlink() else []
    with open(file, "rb") as lines:
        end = lines.seek(0, os.SEEK_END)
        lines.seek(max(0, end - 1))
        if lines.read() not in (b"\n", b""):
            found.append(f"the last line of {file.name} is unfinished")
    return [Fault(f"{what}; --fix removes it", functools.partial(backend.mend_journal, file)) for what in found]


def _files(folder: Path, besides: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            if path != besides:
                yield from _files(path, besides)
        else:
            yield path
