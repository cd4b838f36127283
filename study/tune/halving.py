"""Successive halving: who goes on at a rung. Numbers in, decisions out; a search asks it, and a replay of one.

Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020). Larger values are better; those that
are not finite stay out of the rungs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence


class _Halving:
    """What the trials had reached at each rung.

    Args:
        rungs: steps, ascending.
        reduction: one in so many goes on.

    Attributes:
        rungs: (steps, {number of the trial: value}), the highest first, in the order in which trials got there.
    """

    def __init__(self, rungs: Sequence[int], reduction: int):
        self.rungs: list[tuple[int, dict[int, float]]] = [(steps, {}) for steps in reversed(rungs)]
        self.reduction = reduction

    def _due(self, number: int, steps: int) -> dict[int, float] | None:
        """The highest rung that a trial has reached and is not recorded at."""
        for milestone, recorded in self.rungs:
            if steps >= milestone and number not in recorded:
                return recorded
        return None


class Stopping(_Halving):
    """ASHA that stops: a trial goes on where it is no worse than the quantile 1 - 1/reduction of those before it.

    Decides as Ray's AsyncHyperBandScheduler does, which holds the rungs under ids that a resumed run has not.
    """

    def goes_on(self, number: int, steps: int, value: float) -> bool:
        """Records a report and decides; what was judged at a rung before is not judged there again."""
        recorded = self._due(number, steps)
        if recorded is None or not math.isfinite(value):
            return True
        least = cutoff(recorded.values(), self.reduction)
        recorded[number] = value
        return least is None or value >= least

    def cutoffs(self) -> dict[int, float | None]:
        """The value that a trial must reach at each rung to go on; None before the first trial got there."""
        return {steps: cutoff(recorded.values(), self.reduction) for steps, recorded in self.rungs}

    def promoted(self) -> None:
        """Nobody: who was stopped stays so."""


class Promotion(_Halving):
    """ASHA as published: a trial pauses at each rung, and goes on when it is among the best 1/reduction there.

    Algorithm 2. A value that is not finite is never among them.
    """

    def __init__(self, rungs: Sequence[int], reduction: int):
        super().__init__(rungs, reduction)
        self._promoted: list[set[int]] = [set() for _ in self.rungs]

    def goes_on(self, number: int, steps: int, value: float) -> bool:
        """Records a report; False where the trial pauses."""
        recorded = self._due(number, steps)
        if recorded is not None and math.isfinite(value):
            recorded[number] = value
        return recorded is None

    def promoted(self) -> int | None:
        """The paused trial that goes on next, of the highest rung that has one; None where a new one is due."""
        for (_, recorded), before in zip(self.rungs, self._promoted):
            best = sorted(recorded, key=recorded.__getitem__, reverse=True)[: len(recorded) // self.reduction]
            for number in best:
                if number not in before:
                    before.add(number)
                    return number
        return None


def cutoff(values: Collection[float], reduction: int) -> float | None:
    """The quantile 1 - 1/reduction of some finite values; None without any.

    `numpy.percentile`, in whose digits earlier releases decided, takes 50 µs for a few values; this takes 2.
    """
    if not values:
        return None
    ascending = sorted(values)
    place = (len(ascending) - 1) * ((1 - 1 / reduction) * 100 / 100)
    below = math.floor(place)
    low, high = ascending[below], ascending[min(below + 1, len(ascending) - 1)]
    share = place - below
    return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)
