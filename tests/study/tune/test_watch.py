"""A driver whose Ray has died says so and ends, soon and in its own words."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.signals import Stop
from study.tune import watch

pytestmark = pytest.mark.alone

PROJECT = Path(__file__).resolve().parents[3]


class Ended(Exception):
    """In the place of the process's end."""


class Noted(Stop):
    """Notes why the process would end."""

    def __init__(self) -> None:
        super().__init__(lambda: "this command")
        self.ended: list[str] = []

    def end(self, why):
        self.ended.append(why)
        raise Ended


@pytest.fixture
def raylet(monkeypatch):
    """A socket in the place of Ray's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        there = watch.Server("raylet", *listening.getsockname())
        monkeypatch.setattr(watch, "servers", lambda: [there])
        monkeypatch.setattr(watch, "EVERY", 0.02)
        yield listening


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setattr("threading.excepthook", lambda *_: None)  # of `Ended`


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)


def gone(listening) -> str:
    host, port = listening.getsockname()
    return f"Ray has died: its raylet at {host}:{port} is gone; did the machine run out of memory?"


def test_a_server_that_goes_ends_the_driver(raylet, quiet):
    stop, why = Noted(), gone(raylet)
    with watch.watched(stop, 0.1):
        time.sleep(0.3)
        assert stop.ended == []
        raylet.close()
        wait_for(lambda: stop.ended)
        assert stop.ended == [why]


def test_a_server_that_comes_back_in_time_ends_nothing(raylet):
    stop, (host, port) = Noted(), raylet.getsockname()
    with watch.watched(stop, 1000):
        raylet.close()
        time.sleep(0.3)
        with socket.create_server((host, port)):
            time.sleep(0.3)
    assert stop.ended == []


def test_after_a_signal_the_end_is_that_of_the_signal(raylet):
    stop = Noted()
    stop.signal = 15
    with watch.watched(stop, 0.0):
        raylet.close()
        time.sleep(0.3)
    assert stop.ended == []


def test_what_ray_raises_when_it_has_died_is_not_shown(raylet):
    stop, why = Noted(), gone(raylet)
    raylet.close()
    with pytest.raises(Ended), watch.watched(stop, 1000):
        raise RuntimeError("rpc")
    assert stop.ended == [why]


def test_another_exception_is_raised(raylet):
    with pytest.raises(ZeroDivisionError), watch.watched(Noted(), 1000):
        _ = 1 / 0


ENDING = """
import sys
from study.signals import Stop
stop = Stop(lambda: "this command")
stop.signal = int(sys.argv[1]) or None
stop.end("why")
"""


@pytest.mark.parametrize(("signum", "code", "said"), [("0", 1, "why\ngo on with: this command\n"), ("15", 143, "")])
def test_the_process_ends_at_once(python, signum, code, said):
    done = python("-c", ENDING, signum, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


# Drivers in processes of their own; `benchmarks.chaos` does the same to a search.

LONG = {"steps": 10**6, "report_every": 10}


def ended(arguments: list, folder: Path, hit: Callable[[], None]) -> tuple[int, str]:
    """Exit code and standard error of a command that is hit when its first training has a checkpoint."""
    command = [sys.executable, "-m", "study", *map(str, arguments), "--root", str(folder / "runs")]
    with open(folder / "out", "w") as out, open(folder / "err", "w") as err:
        driver = subprocess.Popen(command, cwd=PROJECT, stdout=out, stderr=err)
    try:
        wait_for(lambda: driver.poll() is not None or list(folder.glob("runs/*/*/*/last.pt")), 180)
        hit()
        return driver.wait(120), (folder / "err").read_text()
    finally:
        driver.kill()


@pytest.mark.long
def test_a_confirmation_without_its_raylet_ends(ray_down, ray_folder, preset, tmp_path):
    with ray_folder() as folder:

        def hit() -> None:
            (raylet,) = [pid for pid, line in folder.processes().items() if "raylet/raylet " in line]
            os.kill(raylet, signal.SIGKILL)

        given = ["seeds", preset(tmp_path, budget=LONG), "--seeds", "1"]
        code, said = ended(given, tmp_path, hit)
    assert code == 1
    first, then = said.splitlines()
    assert first.startswith("Ray has died: its raylet at ")
    assert then == f"go on with: python -m study confirm {tmp_path / 'runs' / 'tiny-seeds'}"


@pytest.mark.long
def test_a_search_on_a_cluster_without_its_head_ends(ray_down, ray_folder, preset, tmp_path):
    from ray.cluster_utils import Cluster

    with ray_folder():
        joined = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        address = joined.address  # which it forgets
        try:
            given = ["run", preset(tmp_path, budget=LONG), "--address", address]
            code, said = ended(given, tmp_path, lambda: joined.head_node.kill_all_processes(check_alive=False))
        finally:
            joined.shutdown()
    assert code == 1
    first, then = said.splitlines()
    assert first.startswith("Ray has died: its ")
    assert then == f"go on with: python -m study resume {tmp_path / 'runs' / 'tiny'} --address {address}"
