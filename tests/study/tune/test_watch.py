"""A driver whose Ray has died says so and ends, soon and in its own words."""

import socket
import time

import pytest

from study.signals import Stop
from study.tune import watch


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


def wait_for(condition) -> None:
    end = time.monotonic() + 60
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
