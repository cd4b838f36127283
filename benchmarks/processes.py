"""What a command takes, with all processes that it starts: CPU seconds and memory, as /proc has them."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np

from benchmarks.serving import PROJECT, SideError

EVERY = 0.25  # seconds
TICKS = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> dict[int, float]:
    """A process and those that it started, and they in turn: id -> CPU seconds so far."""
    parents, used = dict[int, int](), dict[int, float]()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            pid = int(folder.name)
            parents[pid], used[pid] = int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS
    found, new = set[int](), {root} & parents.keys()
    while new:
        found |= new
        new = {pid for pid, parent in parents.items() if parent in new} - found
    return {pid: used[pid] for pid in found}


def memory(roots: Sequence[int]) -> float:
    """Proportional set size of these processes and those that they started, MiB: what is shared counts once."""
    kib = 0
    for pid in {pid for root in roots for pid in tree(root)}:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kib += int(line.split()[1])
    return kib / 1024


class Watched:
    """A command at work, whose CPU seconds are noted as it goes on.

    Args:
        command: what to start.
        log: where its output goes; a pipe would be held open by what it leaves behind.
    """

    def __init__(self, command: Sequence[str], log: Path):
        self.log, self.began = log, time.time()
        with open(log, "w") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, cwd=PROJECT)
        self._noted: list[tuple[float, float, float]] = []  # when, the process's own CPU seconds, those of all
        self._most: dict[int, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._note, daemon=True)

    def _note(self) -> None:
        while not self._over.is_set():
            self._most |= tree(self.process.pid)
            self._noted.append((time.time(), self._most.get(self.process.pid, 0.0), sum(self._most.values())))
            self._over.wait(EVERY)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()
        self._over.set()
        self._thread.join()

    def wait(self) -> None:
        """Waits for its end. Raises SideError where the exit code is not 0."""
        if code := self.process.wait():
            raise SideError(f"{self.process.args!r} ended with exit code {code}\n{self.log.read_text()[-2000:]}")

    def cpu(self, begin: float, end: float) -> tuple[float, float]:
        """CPU seconds between two moments, in seconds since 1970: of the process alone, and of all."""
        when, own, whole = np.array(self._noted).T
        between = [np.interp([begin, end], when, each) for each in (own, whole)]
        alone, of_all = (float(last - first) for first, last in between)
        return alone, of_all
