"""Schedules: functions of the optimiser step, which is an int or a 0-d tensor, and of the training's length in steps.

Nothing is kept between calls: a resumed training goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Step = int | Tensor
Schedule = Callable[[Step, int], float | Tensor]


def linear(start: float, stop: float, share: float) -> Schedule:
    """From `start` at step 0 in a straight line to `stop`, and `stop` from there on.

    Args:
        start: value at step 0.
        stop: value at the end of the share and after it.
        share: of the training, in [0, 1]; at 0 the schedule is `stop` throughout.
    """
    if share <= 0 or start == stop:
        return lambda step, budget: stop

    def schedule(step: Step, budget: int) -> Tensor:
        done = torch.as_tensor(step, dtype=torch.float64) / (share * budget)
        return start + (stop - start) * done.clamp(max=1.0)

    return schedule
