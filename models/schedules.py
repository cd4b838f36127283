"""Schedules: functions of the optimiser step, which is an int or a 0-d tensor, and of the training's length in steps.

Nothing is kept between calls: a resumed training goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Step = int | Tensor
Schedule = Callable[[Step, int], float | Tensor]


class Ramp(NamedTuple):
    """From one value to another in a straight line, see `linear`."""

    start: float
    stop: float
    share: float

    @property
    def length(self) -> float:
        """The share of the training after which the schedule moves no more; 0 where it never does."""
        return 0.0 if self.start == self.stop else max(0.0, self.share)

    def __call__(self, step: Step, budget: int) -> float | Tensor:
        if not self.length:
            return self.stop
        done = torch.as_tensor(step, dtype=torch.float64) / (self.share * budget)
        return self.start + (self.stop - self.start) * done.clamp(max=1.0)


def linear(start: float, stop: float, share: float) -> Ramp:
    """From `start` at step 0 in a straight line to `stop`, and `stop` from there on.

    Args:
        start: value at step 0.
        stop: value at the end of the share and after it.
        share: of the training, in [0, 1]; at 0 the schedule is `stop` throughout.
    """
    return Ramp(start, stop, share)
