"""Images that are told of as they are read: to evaluate many takes its time."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from study.record.words import duration
from study.spec.text import counted
from study.trial.images import CHUNK, Images


class Told(Images):
    """Images of which a line on standard error says now and then how many have been read.

    Args:
        name: of them, in that line.
        given, how: as for `Images`.
    """

    SILENCE = 10.0  # seconds before the first line, and between two

    def __init__(self, name: str, *given: Any, **how: Any):
        super().__init__(*given, **how)
        self.name = name

    def batches(self, size: int = CHUNK, first: int | None = None, among: Tensor | None = None) -> Iterator[Tensor]:
        """As of `Images`."""
        total = len(range(len(self) if among is None else len(among))[:first])
        started = told = time.monotonic()
        done = 0
        for x in super().batches(size, first, among):
            yield x
            done, now = done + len(x), time.monotonic()
            if now - told >= self.SILENCE and done < total:
                told, left = now, (now - started) / done * (total - done)
                line = f"{self.name}: {done:,} of {counted(total, 'image', ',')}, about {duration(left)} left"
                print(line, file=sys.stderr, flush=True)
