"""Nothing is lost and nothing doubled, whatever is killed: `benchmarks.chaos` in short, and whole where marked `long`.

The server is PostgreSQL. Where it is not installed its tests are skipped, unless LATENTSWEEP_POSTGRES=required.
"""

import json
import math
import os
import subprocess
import sys

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from benchmarks import attacked, chaos, postgres, undisturbed
from study.record import storage
from study.record.folder import Run
from study.record.pauses import hand_out
from study.record.storage import open_run
from study.record.trials import finish, reports, store_report
from study.spec import SpecError, StudySpec, storage_url
from study.spec.measures import METRICS
from study.trial.training import Training

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def server(installed):
    with postgres.server() as running:
        yield running


# Kills.


@pytest.mark.long
def test_twenty_kills_of_workers(tmp_path):
    found = chaos.attack("workers", tmp_path)
    assert len(found.hits) == 20
    assert found.complete + found.pruned == 30


@pytest.mark.long
def test_a_server_that_is_away_for_twenty_seconds(installed, tmp_path):
    found = chaos.attack("outage", tmp_path, storage="postgresql")
    assert found.complete + found.pruned == 30


@pytest.mark.long
@pytest.mark.parametrize("what", ["raylet", "gcs", "output", "hangup"])
def test_a_killed_ray_and_a_closed_terminal_lose_and_double_nothing(what, tmp_path):
    trials = 16 if what == "raylet" else 4  # a driver gives up seconds after its raylet's death, if it works still
    found = chaos.attack(what, tmp_path, trials=trials)
    assert found.complete + found.pruned == trials


@pytest.mark.long
def test_a_cluster_that_loses_a_machine_and_a_driver_loses_and_doubles_nothing(tmp_path):
    found = chaos.attack("machine", tmp_path, trials=16)
    assert found.hits == ["machine", "machine back", "driver"]
    assert found.complete + found.pruned == 16


# What the attacks claim can be seen to fail.


@pytest.fixture
def under_attack(tmp_path):
    """A study as chaos sees it, without drivers: trial 0 is complete, trial 1 was stopped, trial 2 runs."""
    made = attacked.Study(tmp_path / "root", tmp_path / "ray", "sqlite", trials=3)
    made.run.create(made.spec)
    opened = open_run(made.run, made.spec, create=True)
    study = opened.study
    for made_at in ((200, 600, 1200), (200,), (200, 300)):
        trial = study.ask()
        made.spec.draw(trial)
        for steps in made_at:
            store_report(study, trial._trial_id, report(steps, -float(steps + trial.number)))
    finish(opened, 0, report(1200, -1200.0))
    finish(opened, 1, report(200, -201.0))
    return made, study


def report(steps: int, elbo: float) -> dict:
    return {
        **dict.fromkeys(METRICS, 0.5),
        "measures": list(METRICS),
        "elbo": elbo,
        "steps": steps,
        "seconds": 1.0,
        "train": [],
        "cause": "",
    }


def ended(made: attacked.Study, *tables: dict) -> None:
    """Has chaos look at the study after a driver whose rungs were these."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    path = made.logs / "1.rungs"
    path.write_text("".join(f"{json.dumps([table, EMPTY])}\n" for table in tables))
    made.ended(attacked.Driver(process, made.logs / "1.log", path))


EMPTY = {200: {}, 600: {}}
TABLE = {200: {0: -200.0, 1: -201.0, 2: -202.0}, 600: {0: -600.0}}


def test_the_rungs_of_stored_reports(under_attack):
    made, study = under_attack
    assert attacked.rung_table(made.spec, study.get_trials()) == TABLE


def test_what_is_right_is_accepted(under_attack):
    made, _ = under_attack
    ended(made, EMPTY, TABLE)
    ended(made, TABLE, {**TABLE, 600: {0: -600.0, 2: -602.0}})  # killed between the decision and its report


@pytest.mark.parametrize(
    ("tables", "what"),
    [
        ([EMPTY, {**TABLE, 600: {}}], "trial 0 is not in the driver's rung 600"),
        ([EMPTY, {**TABLE, 600: {0: -601.0}}], "trial 0 is not in the driver's rung 600"),
        ([TABLE], "refilled are"),
        ([EMPTY, {200: {**TABLE[200], 3: -1.0}, 600: {0: -600.0, 2: -602.0}}], "2 decisions"),
    ],
)
def test_rungs_that_differ_are_seen(under_attack, tables, what):
    made, _ = under_attack
    with pytest.raises(attacked.ViolatedError, match=what):
        ended(made, *tables)


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE trials SET datetime_complete = '2000-01-01' WHERE number = 0", "trial 0 was finished and has changed"),
        ("UPDATE trials SET state = 'RUNNING' WHERE number = 1", "trial 1 was finished and has changed"),
        ("DELETE FROM trial_user_attributes WHERE trial_id = 3 AND key = 'report:200'", "trial 2: the report at 200"),
        ("UPDATE trial_params SET param_value = 0.5 WHERE trial_id = 3", "trial 2 was drawn again"),
        ("DELETE FROM trials WHERE number = 2", "2 trials, of which 3 were there"),
        ("UPDATE trials SET number = 7 WHERE number = 2", r"numbers are \[0, 1, 7\]"),
    ],
)
def test_a_study_that_was_changed_is_seen(under_attack, statement, what):
    made, study = under_attack
    ended(made, EMPTY, TABLE)
    with study._storage._backend.engine.begin() as connection:
        connection.execute(sqlalchemy.text(statement))
    with pytest.raises(attacked.ViolatedError, match=what):
        ended(made, TABLE)


def test_a_pause_may_go_with_the_trial_that_went_on_and_not_otherwise(under_attack):
    made, study = under_attack
    store_report(study, study.get_trials()[2]._trial_id, {**report(300, -302.0), "paused": True})
    ended(made, EMPTY, TABLE)
    store_report(study, study.get_trials()[2]._trial_id, report(300, -302.0))
    with pytest.raises(attacked.ViolatedError, match="trial 2: the report at 300"):
        ended(made, TABLE)
    hand_out(study, study.get_trials()[2]._trial_id, 300, place=9)
    ended(made, TABLE)


def test_a_driver_that_ended_before_is_no_hit(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    (tmp_path / "log").touch()
    with pytest.raises(attacked.ViolatedError, match="had ended before it was killed"):
        attacked.Driver(process, tmp_path / "log", tmp_path / "rungs").kill()


def test_a_curve_that_differs_is_seen(raw, tmp_path, monkeypatch):
    evaluate = Training.evaluate  # and a number that is not finite is stored as none
    monkeypatch.setattr(Training, "evaluate", lambda training: {**evaluate(training), "hoyer": math.inf})
    spec = StudySpec(**raw(budget={"steps": 20}))
    run = Run(tmp_path / "tiny")
    run.create(spec)
    opened = open_run(run, spec, create=True)
    study = opened.study
    trial = study.ask({"lr": optuna.distributions.FloatDistribution(1e-3, 1e-3)})
    train = [[[0, {"model": 1.0}], [5, {"model": 1.0}]], [[10, {"model": 1.0}], [15, {"model": 1.0}]]]
    drawn = study.get_trials()[0]
    drawn.user_attrs = {"report:20": {}}  # how far the curve goes
    expected = undisturbed.curve(spec, drawn)
    for logged, (steps, metrics) in zip(train, expected.items()):
        store_report(
            study,
            trial._trial_id,
            {**metrics, "hoyer": math.inf, "measures": list(metrics), "steps": steps, "seconds": 1.0, "train": logged},
        )
    assert undisturbed.differences(spec, study.get_trials()[0]) == []
    kept = reports(study.get_trials()[0])[20]
    study._storage.set_trial_user_attr(trial._trial_id, "report:20", {**kept, "kl": kept["kl"] + 1e-9})
    (line,) = undisturbed.differences(spec, study.get_trials()[0])
    assert line.startswith("trial 0 at step 20: kl is")


# PostgreSQL's password, and its absence.


@pytest.fixture
def no_password(monkeypatch):
    """This process was given none."""
    monkeypatch.setattr(storage_url, "_with_password", {})
    for name in (storage_url.ENVIRONMENT, "PGPASSWORD"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.long
def test_the_password_is_written_nowhere(server, preset, no_password, command, monkeypatch, ray_folder, tmp_path):
    run, public = tmp_path / "runs" / "tiny", without_password(server)
    opened = [f"the study in {public} cannot be opened", "set LATENTSWEEP_STORAGE to the whole URL"]

    def study(*arguments, **environment) -> tuple[int, str, str]:
        """In a new process."""
        line, env = [sys.executable, "-m", "study", *map(str, arguments)], {**os.environ, **environment}
        done = subprocess.run(line, capture_output=True, text=True, cwd=attacked.PROJECT, env=env)
        return done.returncode, done.stdout, done.stderr

    with ray_folder() as ray:
        said = [study("run", preset(tmp_path), "--root", run.parent, "--storage", server.url)]
        assert said[0][0] == 0, said[0]
        files = [file for folder in (run, ray.path) for file in folder.rglob("*") if file.is_file()]
        assert [file for file in files if server.password.encode() in file.read_bytes()] == []
    assert any(file.is_relative_to(run / "ray") for file in files)
    assert any(file.is_relative_to(ray.path) for file in files)
    assert f"storage: {public}\n" in (run / "study.yaml").read_text()

    said += [study("resume", run), command("status", run)]
    for code, _, err in said[1:]:
        assert code == 2
        assert all(part in err for part in opened)
        assert len(err.splitlines()) == 1
    said.append(study("resume", run, LATENTSWEEP_STORAGE=server.url))
    monkeypatch.setenv("PGPASSWORD", server.password)
    said.append(command("resume", run))
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("LATENTSWEEP_STORAGE", server.url)
    said.append(command("status", run))
    for code, out, err in said[3:]:
        assert (code, err) == (0, "")
        assert "2 complete" in out

    assert not any(server.password in out + err for _, out, err in said)
    assert [file for file in run.rglob("*") if file.is_file() and server.password.encode() in file.read_bytes()] == []


def without_password(server: postgres.Server) -> str:
    return f"postgresql://{postgres.USER}@127.0.0.1:{server.port}/{postgres.DATABASE}"


@pytest.fixture
def unmade(server, raw, tmp_path):
    """A run of one trial whose driver died before it made the study in the server."""
    spec = StudySpec(**raw(name="unmade", trials=1, budget={"steps": 20}, storage=server.url))
    storage.check_storage_is_new(spec)
    run = Run(tmp_path / "unmade")
    run.create(spec)
    yield run
    if storage.is_made(run, spec):
        optuna.delete_study(study_name="unmade", storage=open_run(run, spec).study._storage)


def test_a_second_run_of_the_name_that_started_at_once_is_refused(unmade, tmp_path):
    """Each had looked before the other made the study."""
    spec, second = unmade.spec(), Run(tmp_path / "second" / "unmade")
    open_run(unmade, spec, create=True)
    with pytest.raises(SpecError, match="storage: holds a study of this name already"):
        storage.create(second, spec)
    assert not second.path.exists()


def test_a_run_without_its_study_in_the_server_goes_on(unmade, command):
    code, _, err = command("status", unmade.path)
    assert (code, err) == (
        2,
        f"{unmade.path} has no study yet; go on with `python -m study resume {unmade.path}`\n",
    )
    assert command("resume", unmade.path)[0] == 0
    (trial,) = open_run(unmade).study.get_trials()
    assert trial.state == TrialState.COMPLETE


def test_a_study_that_is_gone_from_the_server_is_not_begun_again(unmade, command, listing):
    assert command("resume", unmade.path)[0] == 0
    optuna.delete_study(study_name="unmade", storage=open_run(unmade).study._storage)
    before = (unmade.trial(0) / "last.pt").read_bytes()
    code, _, err = command("resume", unmade.path)
    assert code == 2
    assert "holds no study 'unmade', and there are trials" in err
    assert (unmade.trial(0) / "last.pt").read_bytes() == before


def test_trials_are_read_again_when_the_connection_is_cut_in_between(server, raw, tmp_path):
    """Optuna takes the cut for too long a query, and asks in another way over the same connection."""
    spec = StudySpec(**raw(name="cut", storage=server.url))
    run = Run(tmp_path / "cut")
    run.create(spec)
    open_run(run, spec, create=True).study.ask()
    study = open_run(run, spec).study  # which did not make the trial, and so must read it
    cuts = []

    def cut(connection, cursor, statement, *_):
        if "FROM trial_params" in statement and not cuts:
            cuts.append(statement)
            server.stop()
            server.start()

    engine = study._storage._backend.engine
    sqlalchemy.event.listen(engine, "before_cursor_execute", cut)
    assert [trial.number for trial in study.get_trials()] == [0]
    assert len(cuts) == 1
    engine.dispose()


def test_postgresql_is_started_and_stopped(server, installed):
    url = server.url.replace("postgresql://", "postgresql+psycopg2://")
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        assert int(connection.execute(sqlalchemy.text("SHOW server_version_num")).scalar_one()) >= 130000
    engine.dispose()
    with pytest.raises(sqlalchemy.exc.OperationalError, match="password"):
        sqlalchemy.create_engine(url.replace(server.password, "another")).connect()
    with postgres.server() as other:
        process = other.process
        other.stop()
        assert process.returncode == 0
        other.start()
        folder = other.folder
    assert not folder.exists()
