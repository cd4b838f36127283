"""A run as the doctor sees it, and what it finds there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial

from study.record import backend, storage
from study.record.extension import differences
from study.record.folder import Run, RunError
from study.spec import StudySpec

ORPHAN, DAMAGED = ".orphan", ".damaged"  # the ends of names of what is put aside


class Fault(NamedTuple):
    """What is wrong and what is done about it, in a line; `fix` does it, where that is possible."""

    line: str
    fix: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Case:
    """A run as the checks see it."""

    run: Run
    held: bool  # by another process, which works on it: what is on its way is no fault
    spec: StudySpec | None  # None: study.yaml is missing or damaged
    study: optuna.Study | None  # None: there is none, or it cannot be opened
    trials: list[FrozenTrial]
    closed: str  # why the study cannot be opened

    @cached_property
    def sure(self) -> StudySpec | None:
        """The specification to judge trials by; None where study.yaml is not what the study was made with."""
        if self.study is None or self.spec is None or storage.space_differences(self.study, self.spec):
            return None
        made_with = storage.made_with(self.study)
        return None if made_with is not None and differences(made_with, self.spec) else self.spec

    @property
    def doubted(self) -> bool:
        """Whether the study is not the one of study.yaml: from such a one nothing is repaired."""
        return self.study is not None and self.spec is not None and self.sure is None


def look(run: Run, held: bool) -> Case:
    """Reads a run's specification and its study, as far as they can be read."""
    try:
        spec = run.spec()
    except RunError:
        spec = None
    try:
        study = _study(run, spec)
        trials = study.get_trials(deepcopy=False) if study else []
    except Exception as error:  # a damaged file can raise nearly anything
        return Case(run, held, spec, None, [], backend.reason(error))
    return Case(run, held, spec, study, trials, "")


def _study(run: Run, spec: StudySpec | None) -> optuna.Study | None:
    """The study of the run; without a specification, the one in the run folder. None if there is none, as yet."""
    files = [storage.file_of(run, spec)] if spec else [run.database, run.journal]
    file = next((file for file in files if file is None or file.is_file()), run.database)
    if file is None:
        assert spec is not None
        assert spec.storage is not None
        if storage.is_missing(spec):
            if any(run.path.glob("trials/*")):
                raise RunError("its file is gone")
            return None
        store: optuna.storages.BaseStorage = backend.server(spec.storage)
    elif not file.is_file():
        return None
    elif file == run.journal:
        store = backend.journal(file)
    else:
        _check_database(file)
        store = backend.sqlite(file)
    names = [study.study_name for study in store.get_all_studies()]
    name = spec.name if spec else run.name if run.name in names else names[0] if len(names) == 1 else None
    if name not in names and file is None and not any(run.path.glob("trials/*")):
        return None
    if name not in names:
        raise RunError(f"it holds no study {name or run.name!r}, but {', '.join(names) or 'none'}")
    return optuna.load_study(study_name=name, storage=store)


def _check_database(file: Path) -> None:
    """Raises for a damaged database, and for one that is not Optuna's, which Optuna would write its tables into."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=30)) as connection:
        ((found, *_), *_) = connection.execute("PRAGMA integrity_check")
    if found != "ok":
        raise RunError(found)
    backend.check_tables(file)


def unreadable(error: OSError) -> Fault:
    return Fault(f"{error.filename} cannot be read ({error.strerror}); give yourself the permission, and ask again")


def beside(path: Path, end: str) -> Path:
    """A name beside a path's own that is free."""
    names = (path.with_name(f"{path.name}{end}{i or ''}") for i in range(1000))
    return next(name for name in names if not name.exists())
