"""Ray's own start on this machine: where it keeps its sockets, how often it is tried, and what a failure leaves."""

import os
import time
from pathlib import Path

import pytest

from study.record.folder import Run
from study.signals import Stop
from study.spec import StudySpec
from study.spec.problems import MachineError
from study.tune import cluster, start

pytestmark = pytest.mark.alone

TIMED_OUT = "The current node timed out during startup. This could happen because"


@pytest.fixture
def failing(monkeypatch, ray_down):
    """Ray's start fails as often as is said here, or always; returns the folders that it was given."""
    given: list[str] = []

    def begin(times: int | None = None) -> list[str]:
        def init(**options):
            given.append(options["_temp_dir"])
            if times is None or len(given) <= times:
                raise Exception(TIMED_OUT)

        monkeypatch.setattr(start.ray, "init", init)
        return given

    return begin


def test_a_start_that_fails_is_tried_again(failing, capsys):
    given = failing(times=2)
    start.start(Stop())
    assert len(given) == 3
    assert capsys.readouterr().err == f"Ray did not start: {TIMED_OUT}; it is tried again\n" * 2


def test_a_start_that_keeps_failing_is_a_line_and_leaves_no_run(failing, command, preset, tmp_path):
    given = failing()
    code, _, err = command("run", preset(tmp_path), "--root", tmp_path / "runs")
    assert (code, len(given)) == (1, start.TRIES)
    last = err.splitlines()[start.TRIES - 1 :]
    assert last[0] == f"Ray did not start in {start.TRIES} attempts: {TIMED_OUT}"
    assert last[-1] == "go on with: the same command, nothing is written"
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("signum", [2, 15])
def test_a_signal_ends_the_attempts(failing, raw, signum):
    given, stop = failing(), Stop()
    stop.signal = signum
    with pytest.raises(SystemExit) as ended, cluster.ray_started(StudySpec(**raw()), Path("tiny"), None, False, stop):
        raise AssertionError("it started")
    assert (ended.value.code, len(given)) == (128 + signum, 1)


def test_of_a_traceback_in_a_message_its_end_is_said():
    text = "Failed. Last error: Traceback (most recent call last):\n  File x\nE: no token. Note: y\n"
    assert start.said(RuntimeError(text)) == "E: no token"


@pytest.fixture
def own() -> Path:
    return Path(f"/tmp/ray-{os.getuid()}")


def test_a_folder_of_a_short_path_is_ray_s_own(monkeypatch, capsys):
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    assert start.folder_for_sockets() == Path("/tmp/ray")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
def test_a_folder_that_is_not_there_is_not_made(tmp_path, monkeypatch, own, variable, capsys):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(start, "LONGEST", 200)
    monkeypatch.setenv(variable, str(tmp_path / "typo"))
    assert start.folder_for_sockets() == own
    line = f"{variable}: there is no folder {tmp_path / 'typo'}; Ray's sockets and logs are in {own}\n"
    assert capsys.readouterr().err == line
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
def test_too_long_a_path_for_sockets_is_replaced(tmp_path, monkeypatch, own, variable):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / ("long" * 20)))
    assert start.folder_for_sockets() == own


def test_a_folder_that_cannot_be_written_is_replaced(tmp_path, monkeypatch, own):
    (tmp_path / "ray").touch()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(start, "LONGEST", 200)
    assert start.folder_for_sockets() == own
    others = tmp_path / "others"
    (others / "ray").mkdir(parents=True)
    monkeypatch.setenv("RAY_TMPDIR", str(others))
    monkeypatch.setattr(os, "access", lambda path, mode: path != others / "ray")
    assert start.folder_for_sockets() == own


def test_without_any_folder_there_is_a_line(monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(MachineError, match="set RAY_TMPDIR to a folder of a short path"):
        start.folder_for_sockets()


@pytest.mark.long
def test_a_start_that_failed_half_way_leaves_no_process(ray_down, ray_folder, raw, monkeypatch, capsys):
    """Ray's parts are up, and its driver gave up on them."""
    from ray._private import services

    once, found = [], services.get_node

    def too_late(*given):
        if not once:
            once.append(time.sleep(1))  # its parts start their own
            raise Exception(TIMED_OUT)
        return found(*given)

    monkeypatch.setattr(services, "get_node", too_late)
    with ray_folder() as folder, cluster.ray_started(StudySpec(**raw()), Path("tiny"), None, False, Stop()):
        there = list(folder.processes().values())
        for one in ("raylet/raylet ", "gcs/gcs_server ", "log_monitor.py ", "RuntimeEnvAgent"):
            assert sum(one in line for line in there) == 1, there
    assert "it is tried again" in capsys.readouterr().err


def test_a_run_that_gets_more_trials_stays_as_it_was_without_ray(failing, run, command):
    failing()
    before = run.study_yaml.read_bytes()
    code, _, err = command("run", "tiny", "--trials", "+2")
    assert (code, err.splitlines()[-1]) == (1, "go on with: the same command, nothing is written")
    assert Run(run.path).study_yaml.read_bytes() == before
