"""Backends: a storage that is away is waited for. The errors come from where a driver raises them."""

import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from study.record import backend
from study.record.folder import Run
from study.record.storage import open_run
from study.record.trials import finish, reports
from study.spec import StudySpec


class ServerAway(sqlite3.OperationalError):
    """Of no module of sqlite3, so that it counts as a server's."""


class Trouble:
    """Makes a storage's next statements, or answers to its commits, fail.

    Attributes:
        statements: that fail before they are done.
        answers: to commits of what was written that are lost after they were done.
        met: how often anything failed.
    """

    def __init__(self, storage: RDBStorage, error: Exception):
        self.statements, self.answers, self.met, self.error = 0, 0, 0, error
        self.wrote = False  # since the last commit
        self.away_then = 0  # statements that fail after a lost answer
        import sqlalchemy

        sqlalchemy.event.listen(storage.engine, "do_execute", self._statement)
        self._commit = storage.engine.dialect.do_commit
        storage.engine.dialect.do_commit = self._answer

    def _statement(self, cursor, statement: str, *_) -> None:
        self.wrote |= not statement.lstrip().upper().startswith(("SELECT", "PRAGMA"))
        if self.statements:
            self.statements -= 1
            self.met += 1
            raise self.error

    def _answer(self, connection) -> None:
        self._commit(connection)
        wrote, self.wrote = self.wrote, False
        if self.answers and wrote:
            self.answers -= 1
            self.met += 1
            self.statements = self.away_then
            raise self.error


class Clock:
    """Time that passes in sleep only."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def study(tmp_path):
    return optuna.create_study(storage=backend.sqlite(tmp_path / "studies.db"), study_name="s", direction="maximize")


@pytest.fixture
def trouble(study, monkeypatch):
    """Makes trouble in that study's storage, and a clock on which nobody has to wait."""

    def make(error: Exception | None = None) -> tuple[Trouble, Clock]:
        found = Trouble(study._storage._backend, error or ServerAway("connection refused"))
        return found, Clock(monkeypatch)

    return make


def together(study):
    with backend.together(study):
        study._storage.set_trial_user_attr(1, "report:10", {"elbo": -1.0})
        optuna.trial.Trial(study, 1).suggest_float("lr", 0, 1)


CALLS = {
    "report": lambda study: study._storage.set_trial_intermediate_value(1, 10, -1.0),
    "attribute": lambda study: study._storage.set_trial_user_attr(1, "report:10", {"elbo": -1.0}),
    "system attribute": lambda study: study._storage.set_trial_system_attr(1, "grid_id", 3),
    "together": lambda study: together(study),
    "draw": lambda study: optuna.trial.Trial(study, 1).suggest_float("lr", 0, 1),
    "tell": lambda study: study.tell(0, 1.0),
    "ask": lambda study: study.ask(),
    "trials": lambda study: study._storage._backend.get_all_trials(1),
    "study attribute": lambda study: study.set_user_attr("kind", "bound"),
    "names": lambda study: optuna.get_all_study_names(study._storage),
}
READING = ("trials", "names")
LOCKED = sqlite3.OperationalError("database is locked")


@pytest.mark.parametrize("error", [ServerAway("connection refused\nIs the server running?"), LOCKED])
@pytest.mark.parametrize("call", CALLS)
def test_it_waits_and_goes_on(study, trouble, capsys, call, error):
    study.ask()
    made, _ = trouble(error)
    made.statements = 7  # more than the five that Optuna itself tries when it makes a trial
    CALLS[call](study)
    assert made.met == 7
    lines = capsys.readouterr().err.splitlines()
    reason = str(error).splitlines()[0]
    assert lines[0] == f"the storage does not answer ({reason}); waiting for it"
    assert lines[1].startswith("the storage answers again after ")
    assert len(lines) == 2


@pytest.mark.parametrize("call", [call for call in CALLS if call not in READING])
def test_what_was_done_although_the_answer_was_lost_is_done_once(study, trouble, call):
    study.ask()
    made, _ = trouble()
    made.answers = 1
    CALLS[call](study)
    assert made.met == 1
    trials = study.get_trials()
    assert [trial.number for trial in trials] == ([0, 1] if call == "ask" else [0])
    first = trials[0]
    expected = {
        "report": lambda: first.intermediate_values == {10: -1.0},
        "attribute": lambda: first.user_attrs == {"report:10": {"elbo": -1.0}},
        "together": lambda: (first.user_attrs, [*first.params]) == ({"report:10": {"elbo": -1.0}}, ["lr"]),
        "system attribute": lambda: first.system_attrs == {"grid_id": 3},
        "draw": lambda: set(first.params) == {"lr"},
        "tell": lambda: (first.state, first.value) == (TrialState.COMPLETE, 1.0),
        "study attribute": lambda: study.user_attrs == {"kind": "bound"},
    }
    assert expected.get(call, lambda: True)()


@pytest.mark.parametrize("away", [0, 3, 7])
def test_a_trial_whose_answer_was_lost_is_made_once_and_is_the_one_that_is_asked_for(study, trouble, away):
    """Optuna itself tries five times to make a trial; the server may stay away for longer than that."""
    study.ask()
    made, _ = trouble()
    made.answers, made.away_then = 1, away
    trial = study.ask()
    assert made.met == 1 + away
    assert trial.number == 1
    trial.suggest_float("lr", 0, 1)
    assert study.ask().number == 2
    assert [t.number for t in study.get_trials()] == [0, 1, 2]
    assert set(study.get_trials()[1].params) == {"lr"}


def test_an_enqueued_trial_whose_answer_was_lost_is_there_once(study, trouble):
    made, _ = trouble()
    made.answers = 1
    study.enqueue_trial({"lr": 0.25})
    assert made.met == 1
    assert [trial.state for trial in study.get_trials()] == [TrialState.WAITING]
    assert study.ask().suggest_float("lr", 0, 1) == 0.25


@pytest.mark.parametrize(
    ("tell", "ended"),
    [
        (lambda study: study.tell(0, -3.5), (TrialState.COMPLETE, -3.5)),
        (lambda study: study.tell(0, state=TrialState.PRUNED), (TrialState.PRUNED, -4.0)),
        (lambda study: study.tell(0, state=TrialState.FAIL), (TrialState.FAIL, None)),
    ],
)
def test_an_end_whose_answer_was_lost_is_told_once(study, trouble, tell, ended):
    trial = study.ask()
    study._storage.set_trial_intermediate_value(trial._trial_id, 10, -4.0)
    made, _ = trouble()
    made.answers = 1
    tell(study)
    assert made.met == 1
    (stored,) = study.get_trials()
    assert (stored.state, stored.value) == ended


def test_an_end_that_another_told_is_not_taken_for_ours(study):
    study.ask()
    study.tell(0, 1.0)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study._storage.set_trial_state_values(1, TrialState.COMPLETE, [1.0])


def test_a_server_that_stays_away_is_given_up(study, trouble, monkeypatch, capsys):
    monkeypatch.setattr(backend, "PATIENCE", 30.0)
    made, clock = trouble()
    made.statements = 10**9
    with pytest.raises(optuna.exceptions.StorageInternalError):
        study.set_user_attr("a", 1)
    assert 30 < clock.now < 33
    assert capsys.readouterr().err.count("\n") == 1
    assert made.met > 5


def test_it_is_asked_more_and_more_seldom(study, trouble, monkeypatch):
    monkeypatch.setattr(backend, "PATIENCE", 600.0)
    made, clock = trouble()
    made.statements = 10**9
    with pytest.raises(optuna.exceptions.StorageInternalError):
        study.set_user_attr("a", 1)
    assert 600 < clock.now < 603
    assert made.met < 400


@pytest.mark.parametrize(
    "error",
    [sqlite3.OperationalError("database or disk is full"), sqlite3.OperationalError("disk I/O error")],
    ids=str,
)
def test_what_does_not_pass_is_not_waited_for(study, trouble, capsys, error):
    made, clock = trouble(error)
    made.statements = 1
    with pytest.raises(optuna.exceptions.StorageInternalError) as caught:
        study.set_user_attr("a", 1)
    assert (made.met, clock.now, capsys.readouterr().err) == (1, 0.0, "")
    assert backend.reason(caught.value) == str(error)


def test_a_mistake_is_not_waited_for(study, trouble, capsys):
    import sqlalchemy

    made, clock = trouble(sqlite3.IntegrityError("UNIQUE constraint failed"))
    made.statements = 1
    with pytest.raises(sqlalchemy.exc.IntegrityError):
        study.ask()
    assert (clock.now, capsys.readouterr().err) == (0.0, "")
    with pytest.raises(KeyError):
        study._storage.set_trial_user_attr(99, "a", 1)


def test_the_methods_that_wait_are_called_still():
    """A release of Optuna that renames one would make a method that nobody calls."""
    methods = [name for name, value in vars(backend.Patient).items() if callable(value)]
    assert len(methods) > 15
    assert [name for name in methods if not hasattr(RDBStorage, name)] == ["_write"]


HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
time.sleep(7)
connection.execute("COMMIT")
"""


def test_a_file_that_another_process_holds_longer_than_sqlite_waits_only_delays(raw, tmp_path, capsys):
    spec = StudySpec(**raw())
    run = Run(tmp_path / "tiny")
    run.create(spec)
    opened = open_run(run, spec, create=True)
    study = opened.study
    trial = study.ask()
    command = [sys.executable, "-c", textwrap.dedent(HOLD), str(run.database)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        study._storage.set_trial_intermediate_value(trial._trial_id, 10, -1.0)
    finally:
        holder.wait()
        holder.stdout.close()
    finish(opened, 0, {"elbo": -1.0, "steps": 60, "cause": ""})
    (stored,) = open_run(run, spec).study.get_trials()
    assert (stored.state, stored.intermediate_values, reports(stored)) == (TrialState.COMPLETE, {10: -1.0}, {})
    assert capsys.readouterr().err.startswith("the storage does not answer (database is locked); waiting for it\n")


def test_tables_of_another_release_of_optuna_are_compared_with_what_this_one_needs(tmp_path):
    path = tmp_path / "tables.db"
    backend.sqlite(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE version_info SET library_version = '3.0.0'")
    backend.sqlite(path)  # they are the same
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v2.6.0.a'")
    with pytest.raises(RuntimeError, match=r"no longer compatible .*set up by optuna 3\.0\.0"):
        backend.sqlite(path)
