"""A training as a process that is told on its standard input how many steps to make, and says what they took; and
several of these at once. Needs nothing but Python, for the sake of environments other than this one.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TextIO

PROJECT = Path(__file__).resolve().parent.parent


class SideError(Exception):
    """A side that is to be measured did not work."""


class Pace(NamedTuple):
    """How much of something there is to a second, or how many seconds to something: by the clock, and of CPU."""

    clock: float
    cpu: float


def serve(advance: Callable[[int], object], asked: TextIO = sys.stdin, told: TextIO = sys.stdout) -> None:
    """Says that it is ready, then makes as many steps as each line asks for and says their CPU seconds."""
    print("ready", file=told, flush=True)
    for line in asked:
        began = _cpu()
        advance(int(line))
        print(_cpu() - began, file=told, flush=True)


def _cpu() -> float:
    """CPU seconds of this process, and of those that it has waited for, as a compiler."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


class Trainings:
    """Processes that serve, each of so many threads; they wait in between, so that others can be measured.

    Args:
        commands: of each process.
        threads: that each may use.
    """

    def __init__(self, commands: Sequence[Sequence[str]], threads: int):
        env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.processes = [
            subprocess.Popen(
                command, cwd=PROJECT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
            )
            for command in commands
        ]
        for process in self.processes:
            self._answer(process)

    def go(self, steps: int) -> Pace:
        """Has each make so many steps, all at once; how many a second that are together."""
        began = time.perf_counter()
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(f"{steps}\n")
        cpu = sum(float(self._answer(process)) for process in self.processes)
        made = steps * len(self.processes)
        return Pace(made / (time.perf_counter() - began), made / cpu)

    def _answer(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SideError(f"{process.args!r} ended with exit code {process.wait()}")
        return line

    def __enter__(self) -> Trainings:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self.processes:
            process.wait()
