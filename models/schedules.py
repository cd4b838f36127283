"""Schedules: functions of the optimiser step, which is an int or a 0-d tensor; nothing is kept between calls."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Step = int | Tensor
Schedule = Callable[[Step], float | Tensor]


def linear(start: float, stop: float, length: float) -> Schedule:
    """From `start` at step 0 in a straight line to `stop` at step `length`, and `stop` from there on.

    Args:
        start: value at step 0.
        stop: value at `length` and after it.
        length: in optimiser steps; at 0 the schedule is `stop` throughout.
    """
    if length <= 0 or start == stop:
        return lambda step: stop

    def schedule(step: Step) -> Tensor:
        return start + (stop - start) * (torch.as_tensor(step, dtype=torch.float64) / length).clamp(max=1.0)

    return schedule
