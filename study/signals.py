"""Stopping softly on Ctrl-C and SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_SECONDS = 6.0  # after a signal, how long a soft stop may take


class Stop:
    """Whether a signal has asked this process to stop; `signal` is its number, or None."""

    def __init__(self) -> None:
        self.signal: int | None = None


@contextmanager
def stopping_on_signals(how_to_go_on: str) -> Iterator[Stop]:
    """The first SIGINT or SIGTERM sets the flag; a second one, or a stop that takes too long, ends the process at once.

    What is on disk is whole at every moment, so that a hard end loses at most the work since the last report.

    Args:
        how_to_go_on: the command that goes on with the work, printed at the first signal.
    """
    stop = Stop()

    def handle(signum: int, frame: FrameType | None) -> None:
        if stop.signal is not None:
            os._exit(128 + signum)
        stop.signal = signum
        print(f"\nstopping; go on with: {how_to_go_on}", file=sys.stderr, flush=True)
        timer = threading.Timer(EXIT_SECONDS, os._exit, (128 + signum,))
        timer.daemon = True
        timer.start()

    if threading.current_thread() is not threading.main_thread():  # only there can handlers be installed
        yield stop
        return
    before = {signum: signal.signal(signum, handle) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
