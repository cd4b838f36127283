"""Stopping softly on Ctrl-C and SIGTERM, and on what a closed terminal and a cluster's scheduler send."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

EXIT_SECONDS = 6.0  # after a signal, how long a soft stop may take
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
OVER = 0  # in the pipe, where other bytes are signals: there is nothing to watch any more


class Stop:
    """Whether a signal has asked this process to stop; `signal` is its number, or None.

    Args:
        how_to_go_on: says which command goes on with the work.
    """

    def __init__(self, how_to_go_on: Callable[[], str] = lambda: "the same command") -> None:
        self.signal: int | None = None
        self.how_to_go_on = how_to_go_on

    def leave_if_asked(self) -> None:
        """Raises SystemExit, with the signal's exit code, if one has come: there is nothing to save yet."""
        if self.signal is not None:
            raise SystemExit(128 + self.signal)

    def end(self, why: str) -> NoReturn:
        """Ends the process at once, from any thread: with exit code 1, or after a signal with that of the signal."""
        if self.signal is not None:
            _leave(128 + self.signal)
        print(f"{why}\ngo on with: {self.how_to_go_on()}", file=sys.stderr, flush=True)
        _leave(1)


@contextmanager
def stopping_on_signals(how_to_go_on: Callable[[], str]) -> Iterator[Stop]:
    """The first of SIGNALS sets the flag; a second one, or a stop that takes too long, ends the process at once.

    A thread does this, to which signals come through a pipe: Python's own handlers wait for the main thread, and that
    can be deep in Ray for minutes. What is on disk is whole at every moment, so that a hard end loses at most the work
    since the last report.

    Args:
        how_to_go_on: says which command goes on with the work; it is printed at the first signal.
    """
    stop = Stop(how_to_go_on)
    if threading.current_thread() is not threading.main_thread():  # only there can handlers be installed
        yield stop
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    watcher = threading.Thread(target=_watch, args=(reading, stop), daemon=True)
    watcher.start()
    pipe_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    heard = [signum for signum in SIGNALS if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN]
    before = {signum: signal.signal(signum, _nothing) for signum in heard}  # not of a hang-up under `nohup`
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(pipe_before)
        os.write(writing, bytes([OVER]))
        watcher.join()
        os.close(reading)
        os.close(writing)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Keeps SIGTERM's handler through the start of Ray, which puts one of its own in the place, and leaves it there."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as ended:
        if ended.code != signal.SIGTERM:
            raise
        raise SystemExit(128 + signal.SIGTERM) from None  # it was Ray's handler, whose code says something else
    finally:
        signal.signal(signal.SIGTERM, handler)


def _nothing(*_: Any) -> None:
    """The pipe has it already."""


def _watch(pipe: int, stop: Stop) -> None:
    signum = _next(pipe, None)
    assert signum is not None  # nothing else ends the wait
    if signum == OVER:
        return
    stop.signal = signum
    print(f"\nstopping; go on with: {stop.how_to_go_on()}", file=sys.stderr, flush=True)
    then = _next(pipe, EXIT_SECONDS)
    if then == OVER:
        return
    _leave(128 + (signum if then is None else then))


def _leave(code: int) -> NoReturn:
    if sys.stdout.isatty():
        os.write(sys.stdout.fileno(), b"\x1b[?25h")  # a live display hides the cursor
    os._exit(code)


def _next(pipe: int, seconds: float | None) -> int | None:
    """The next of SIGNALS, or OVER, in the pipe; None if none comes in time."""
    end = None if seconds is None else time.monotonic() + seconds
    while select.select([pipe], [], [], None if end is None else max(0.0, end - time.monotonic()))[0]:
        byte = os.read(pipe, 1)[0]
        if byte in (OVER, *SIGNALS):
            return byte
    return None
