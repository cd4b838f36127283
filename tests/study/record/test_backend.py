"""Backends: no password in sight, a journal mended, and a storage that is away for a while is waited for."""

import os
import sqlite3
import subprocess
import sys
import textwrap
import time

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from study.record import backend
from study.record.folder import Run
from study.record.storage import finish, open_study, reports
from study.spec import StudySpec, dump, load, storage_url

SECRET = "s3cr3t/word"
PLAIN = "postgresql://me@localhost:5432/studies"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Each test is a process of its own: no password is known from before."""
    monkeypatch.setattr(storage_url, "_with_password", {})
    monkeypatch.delenv(storage_url.ENVIRONMENT, raising=False)


# Passwords.

WITH_PASSWORD = [
    ("postgresql://me:s3cr3t%2Fword@localhost:5432/studies", PLAIN),
    (
        "postgresql+psycopg2://me:s3cr3t%2Fword@localhost:5432/studies?sslmode=require",
        "postgresql+psycopg2://me@localhost:5432/studies?sslmode=require",
    ),
    ("postgresql://localhost/studies?user=me&password=s3cr3t%2Fword", "postgresql://localhost/studies?user=me"),
    (
        "postgresql://me@localhost/studies?sslpassword=s3cr3t%2Fword&sslmode=require",
        "postgresql://me@localhost/studies?sslmode=require",
    ),
    ("mysql://me:s3cr3t%2Fword@localhost/studies?passwd=s3cr3t%2Fword", "mysql://me@localhost/studies"),
    ("postgresql://a%40b:s3cr3t%2Fword@localhost/studies", "postgresql://a%40b@localhost/studies"),
]
WITHOUT = [
    PLAIN,
    "postgresql://localhost/studies?sslmode=require",
    "sqlite:////data/studies.db",
    "sqlite:///studies.db",
    "journal",
    "nonsense: at all",
]


def hidden(text: str) -> bool:
    return "s3cr3t" not in text


@pytest.mark.parametrize(("url", "public"), WITH_PASSWORD)
def test_a_password_is_split_off_and_kept_by_this_process(url, public):
    import sqlalchemy

    assert storage_url.without_password(url) == public
    whole = sqlalchemy.engine.make_url(storage_url.whole_url(public))
    passwords = [whole.password, *(whole.query.get(key) for key in storage_url.SECRETS)]
    assert SECRET in passwords
    assert whole.host == "localhost"
    assert storage_url.without_password(public) == public  # reading the run's own specification forgets nothing
    assert storage_url.whole_url(public) == url


@pytest.mark.parametrize("url", WITHOUT)
def test_what_has_none_stays_as_it_is(url):
    assert storage_url.without_password(url) == url
    assert storage_url.whole_url(url) == url


@pytest.mark.parametrize(("url", "public"), WITH_PASSWORD)
def test_a_specification_never_holds_one(raw, preset, tmp_path, url, public):
    spec = StudySpec(**raw(storage=url))
    path = preset(tmp_path)
    loaded = load(path, [f"storage={url}"])
    run = Run(tmp_path / "tiny")
    run.create(spec)
    for one in (spec, loaded, run.spec()):
        assert one.storage == public
        assert hidden(repr(one) + str(one) + dump(one) + str(one.model_dump()) + one.model_dump_json())
    assert hidden(run.study_yaml.read_text() + run.environment.read_text())


@pytest.mark.parametrize(("url", "public"), WITH_PASSWORD[:3])
def test_a_later_process_has_it_from_the_environment_for_the_same_url_only(monkeypatch, url, public):
    assert storage_url.whole_url(public) == public
    monkeypatch.setenv(storage_url.ENVIRONMENT, url)
    assert storage_url.whole_url(public) == url
    other = public.replace("/studies", "/others")
    assert storage_url.whole_url(other) == other


@pytest.mark.parametrize("wrong", ["", "trials=many"])
@pytest.mark.parametrize("url", ["postgresql://me:s3cr3t@localhost:1/studies", "oracle://me:s3cr3t@localhost/studies"])
def test_no_line_of_the_command_line_prints_one(command, preset, tmp_path, url, wrong):
    """Nobody listens at that port, and there is no driver for the other."""
    arguments = ["--set", wrong] if wrong else []
    code, out, err = command("run", preset(tmp_path), "--storage", url, "--root", tmp_path / "runs", *arguments)
    assert code == 2
    assert ("trials: input should be" if wrong else "storage: cannot be opened") in err
    assert hidden(out + err)
    assert not (tmp_path / "runs").exists()


def test_a_server_that_does_not_answer_leaves_the_run_and_no_password_in_it(command, raw, tmp_path):
    run = Run(tmp_path / "tiny")
    run.create(StudySpec(**raw(storage="postgresql://me:s3cr3t@localhost:1/studies")))
    before = run.study_yaml.read_text()
    code, out, err = command("resume", run.path)
    assert code == 2
    assert "the study in postgresql://me@localhost:1/studies cannot be opened (" in err
    assert f"set {storage_url.ENVIRONMENT} to the whole URL" in err
    assert hidden(out + err)
    assert run.study_yaml.read_text() == before


# A journal that a death cut short.

LINES = b'{"op_code": 0, "worker_id": "a"}\n{"op_code": 4, "worker_id": "a"}\n'


@pytest.mark.parametrize(
    ("content", "left"),
    [
        (LINES, LINES),
        (LINES + b'{"op_c', LINES),
        (LINES + b"x" * 20_000, LINES),  # several blocks
        (b"x" * 8192, b""),
        (b"", b""),
        (b"y" * 4095 + b"\n" + b"x", b"y" * 4095 + b"\n"),  # the line ends with a block
    ],
    ids=["whole", "cut", "long", "nothing whole", "empty", "at a block's end"],
)
def test_the_unfinished_end_of_a_journal_is_cut_off_and_nothing_else(tmp_path, content, left):
    path = tmp_path / "optuna.journal"
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    done = backend.mend_journal(path)
    assert path.read_bytes() == left
    lost = len(content) - len(left)
    assert done == ([f"optuna.journal: its last line was unfinished; {lost} bytes cut off"] if lost else [])
    if not lost:
        assert path.stat().st_mtime_ns == 1
    assert backend.mend_journal(path) == []


def test_the_lock_of_a_dead_writer_is_removed(tmp_path):
    path = tmp_path / "optuna.journal"
    path.write_bytes(LINES)
    lock = tmp_path / "optuna.journal.lock"
    lock.symlink_to(path)
    assert backend.mend_journal(path) == ["optuna.journal.lock: left by a process that is gone; removed"]
    assert not lock.is_symlink()
    lock.symlink_to(tmp_path / "gone")  # one that leads nowhere, too
    assert len(backend.mend_journal(path)) == 1
    assert not lock.is_symlink()


def test_a_study_in_a_mended_journal_goes_on(raw, tmp_path):
    """Optuna opens a journal with a cut line, and glues its next write to it: the study never opens again."""
    spec = StudySpec(**raw(storage="journal"))
    run = Run(tmp_path / "tiny")
    run.create(spec)
    study = open_study(run, spec, create=True)
    kept = study.ask({"lr": FloatDistribution(0, 1)}).params
    with open(run.journal, "ab") as file:
        file.write(b'{"op_code": 8, "worker_id": "gone", "trial_')
    run.journal.with_name("optuna.journal.lock").symlink_to(run.journal)

    started = time.monotonic()
    study = open_study(run, spec, create=True)
    study.ask()
    assert time.monotonic() - started < 15  # Optuna waits 30 s for a lock
    trials = open_study(run, spec).get_trials()
    assert [trial.params for trial in trials] == [kept, {}]
    assert not run.database.exists()


def test_a_reader_mends_nothing(raw, tmp_path):
    """What looks cut to a reader may be a line that the driver is writing."""
    spec = StudySpec(**raw(storage="journal"))
    run = Run(tmp_path / "tiny")
    run.create(spec)
    open_study(run, spec, create=True).ask()
    with open(run.journal, "ab") as file:
        file.write(b'{"op_code": 8, "wor')
    before = run.journal.read_bytes()
    assert len(open_study(run, spec).get_trials()) == 1
    assert run.journal.read_bytes() == before


# A storage that is away for a while. The errors come from where a database's driver raises them.


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


CALLS = {
    "report": lambda study: study._storage.set_trial_intermediate_value(1, 10, -1.0),
    "attribute": lambda study: study._storage.set_trial_user_attr(1, "report:10", {"elbo": -1.0}),
    "system attribute": lambda study: study._storage.set_trial_system_attr(1, "grid_id", 3),
    "draw": lambda study: optuna.trial.Trial(study, 1).suggest_float("lr", 0, 1),
    "tell": lambda study: study.tell(0, 1.0),
    "ask": lambda study: study.ask(),
    "trials": lambda study: study.get_trials(),
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


def test_the_methods_that_wait_are_optunas_still():
    """A release that renames one would make a method that nobody calls."""
    methods = [name for name, value in vars(backend.Patient).items() if callable(value)]
    assert len(methods) > 15
    assert [name for name in methods if not hasattr(RDBStorage, name)] == []


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
    study = open_study(run, spec, create=True)
    trial = study.ask()
    command = [sys.executable, "-c", textwrap.dedent(HOLD), str(run.database)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        study._storage.set_trial_intermediate_value(trial._trial_id, 10, -1.0)
    finally:
        holder.wait()
        holder.stdout.close()
    finish(study, 0, {"elbo": -1.0, "steps": 60, "cause": ""}, spec)
    (stored,) = open_study(run, spec).get_trials()
    assert (stored.state, stored.intermediate_values, reports(stored)) == (TrialState.COMPLETE, {10: -1.0}, {})
    assert capsys.readouterr().err.startswith("the storage does not answer (database is locked); waiting for it\n")
