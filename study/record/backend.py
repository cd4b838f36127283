"""Where an Optuna study is stored, and how it is spoken to: SQLite, a journal, or a database server."""

from __future__ import annotations

import functools
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import optuna
from optuna.storages import JournalStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

from study.record.folder import RunError
from study.record.journal import Journal
from study.record.remembered import Remembering
from study.spec.storage_url import url_of, whole_url
from study.spec.text import counted

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

T = TypeVar("T")

TOGETHER = 20.0  # seconds in which several processes make a database's tables at once
ANOTHER_WAS_FIRST = ("already exists", "locked", "UNIQUE constraint", "duplicate key", "Duplicate entry")
PATIENCE = 600.0  # seconds that a server may be away before the study is given up


def sqlite(path: Path) -> RDBStorage:
    """An SQLite file, made where it is missing."""
    return Patient(url_of(path))


def check_tables(path: Path) -> None:
    """Raises RunError unless an SQLite file has all of Optuna's tables, which Optuna would make again, and empty."""
    from optuna.storages._rdb import models  # which imports SQLAlchemy

    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=30)) as connection:
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if lacking := sorted({*models.BaseModel.metadata.tables} - there):
            raise RunError("it is no Optuna database" if "studies" in lacking else f"it lacks {', '.join(lacking)}")
        if not [*connection.execute("SELECT 1 FROM version_info")]:
            raise RunError("it is no Optuna database any more: it has been emptied")


def journal(path: Path) -> JournalStorage:
    """A journal, made where it is missing."""
    return JournalStorage(Journal(str(path)))


def server(public: str) -> RDBStorage:
    """What an Optuna URL without its password names. Each driver has errors of its own for what cannot be opened."""
    whole = _url(public).render_as_string(hide_password=False)
    return _together(lambda: Patient(whole, engine_kwargs={"pool_pre_ping": True}))


def check_driver(public: str) -> None:
    """Raises the errors of SQLAlchemy where it has no such database, or lacks its driver; connects to nothing."""
    _url(public).get_dialect().import_dbapi()


def _url(public: str) -> URL:
    import sqlalchemy

    url = sqlalchemy.engine.make_url(whole_url(public))
    if url.drivername == "postgresql":  # whose default driver differs from one release of SQLAlchemy to another
        url = url.set(drivername="postgresql+psycopg2")
    return url


def _together(connect: Callable[[], T]) -> T:
    """Connects, and does so again while other processes make the tables of the same new database."""
    import sqlalchemy

    end = time.monotonic() + TOGETHER
    while True:
        try:
            return connect()
        except sqlalchemy.exc.DBAPIError as error:
            if time.monotonic() > end or not any(sign in str(error.orig) for sign in ANOTHER_WAS_FIRST):
                raise
        time.sleep(0.1)


def together(study: optuna.Study) -> AbstractContextManager[None]:
    """What is written of the study's trials inside is written at once, where its storage can do so."""
    storage = study._storage
    backend = getattr(storage, "_backend", None)
    if isinstance(storage, JournalStorage) and isinstance(backend, Journal):
        study.user_attrs  # reads what the file has  # noqa: B018
        return backend.together(storage._replay_result.log_number_read)
    return backend.together() if isinstance(backend, Patient) else nullcontext()


def mend_journal(path: Path) -> list[str]:
    """Cuts off a last line that a death left unfinished, and a dead writer's lock; for who alone writes the journal.

    Returns:
        What was done, a line each.
    """
    done = []
    lock = path.with_name(path.name + ".lock")
    if lock.is_symlink() or lock.exists():
        lock.unlink()
        done.append(f"{lock.name}: left by a process that is gone; removed")
    with open(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        whole = _end_of_last_line(file, size)
        if whole < size:
            file.truncate(whole)
            done.append(f"{path.name}: its last line was unfinished; {counted(size - whole, 'byte')} cut off")
    return done


def _end_of_last_line(file: Any, size: int, block: int = 4096) -> int:
    end = size
    while end > 0:
        start = max(0, end - block)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


class Patient(Remembering):
    """An SQL storage that waits for a server that is away, and for a file that another process has locked.

    What was under way is done again. It has one writer, this process; so a trial that was made although the answer was
    lost is recognised and not made twice, and likewise an end that was told.
    """

    _newest: int | None = None  # the study's newest trial before the one that is being made

    def __init__(self, url: str, engine_kwargs: dict[str, Any] | None = None):
        super().__init__(url, engine_kwargs, skip_compatibility_check=True)
        if _made_by(self) != optuna.__version__:  # to compare tables takes most of the time of opening them
            self._version_manager.check_table_schema_compatibility()

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        self._newest = None
        return _patiently(functools.partial(super()._create_new_trial, study_id, template_trial))

    def _get_prepared_new_trial(self, study_id: int, template_trial: FrozenTrial | None, session: Any) -> Any:
        """Each attempt comes here, Optuna's own, of which it makes five, and ours."""
        from optuna.storages._rdb import models  # which imports SQLAlchemy

        trials = session.query(models.TrialModel).filter_by(study_id=study_id)
        newest = trials.order_by(models.TrialModel.trial_id.desc()).first()
        if self._newest is None:
            self._newest = -1 if newest is None else newest.trial_id
        elif newest is not None and newest.trial_id > self._newest:
            return newest
        return super()._get_prepared_new_trial(study_id, template_trial, session)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> bool:
        def told_already() -> bool | None:
            trial = self.remember(trial_id)
            return True if trial.state == state and trial.values == values else None

        tell = functools.partial(super().set_trial_state_values, trial_id, state, values)
        return _patiently(tell, told_already)


def _made_by(storage: RDBStorage) -> str:
    """The release of Optuna that made the tables, or brought them up to date."""
    from optuna.storages._rdb import models  # which imports SQLAlchemy

    with storage.scoped_session() as session:
        made = models.VersionInfoModel.find(session)
        assert made is not None  # Optuna has seen to that
        return str(made.library_version)


def _waiting(name: str) -> Callable[..., Any]:
    method = getattr(Remembering, name)

    @functools.wraps(method)
    def call(self: Patient, *arguments: Any, **keywords: Any) -> Any:
        return _patiently(functools.partial(method, self, *arguments, **keywords))

    return call


for _name in (
    "create_new_study",
    "get_all_studies",
    "get_all_trials",
    "get_study_directions",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_system_attrs",
    "get_study_user_attrs",
    "get_trial",
    "get_trial_id_from_study_id_trial_number",
    "set_study_system_attr",
    "set_study_user_attr",
    "set_trial_intermediate_value",
    "set_trial_system_attr",
    "set_trial_user_attr",
    "_get_best_trial_id",
    "_get_trials",
    "_set_trial_param",
    "_write",
):
    setattr(Patient, _name, _waiting(_name))


def _patiently(work: Callable[[], T], done_already: Callable[[], T | None] = lambda: None) -> T:
    """Does some work on the storage, and does it again while the server is away.

    Args:
        work: to be done.
        done_already: asked before it is done again: what an earlier attempt did although its answer was lost.
    """
    away_since: float | None = None
    while True:
        try:
            found = None if away_since is None else done_already()
            result = work() if found is None else found
        except optuna.exceptions.StorageInternalError as error:
            if not _passes(error):
                raise
            now = time.monotonic()
            if away_since is None:
                away_since = now
                print(f"the storage does not answer ({reason(error)}); waiting for it", file=sys.stderr, flush=True)
            if now - away_since > PATIENCE:
                raise
            time.sleep(min(2.0, 0.1 + (now - away_since) / 10))
            continue
        if away_since is not None:
            seconds = time.monotonic() - away_since
            print(f"the storage answers again after {seconds:.0f} s", file=sys.stderr, flush=True)
        return result


def _passes(error: Exception) -> bool:
    """Whether an error is one of a server that is away or a locked file, and so worth waiting for."""
    import sqlalchemy

    cause = error.__cause__
    if isinstance(cause, sqlalchemy.exc.PendingRollbackError):  # Optuna asks for trials once more, on a dead connection
        return True
    if not isinstance(cause, sqlalchemy.exc.DBAPIError):
        return False
    if type(cause.orig).__module__.startswith("sqlite3"):
        return "locked" in str(cause.orig)
    return cause.connection_invalidated or isinstance(cause, sqlalchemy.exc.OperationalError)


def reason(error: BaseException) -> str:
    """What a storage's error says, in a line."""
    root = getattr(error.__cause__, "orig", None) or error.__cause__ or error
    return next((line.strip() for line in str(root).splitlines() if line.strip()), type(root).__name__)
