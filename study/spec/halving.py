"""Successive halving: who goes on at a rung. Numbers in, decisions out; a search asks it, and a replay of one.

Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020). Larger values are better; those that
are not finite stay out of the rungs.
"""

from __future__ import annotations

import math
import random
from bisect import insort
from collections.abc import Sequence
from typing import NamedTuple


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

    def _due(self, number: int, steps: int) -> int | None:
        """Which is the highest rung that a trial has reached and is not recorded at."""
        for which, (milestone, recorded) in enumerate(self.rungs):
            if steps >= milestone and number not in recorded:
                return which
        return None


class Stopping(_Halving):
    """ASHA that stops: a trial goes on where it is no worse than the quantile 1 - 1/reduction of those before it.

    Decides as Ray's AsyncHyperBandScheduler does, which holds the rungs under ids that a resumed run has not.
    """

    def __init__(self, rungs: Sequence[int], reduction: int):
        super().__init__(rungs, reduction)
        self._ascending: list[list[float]] = [[] for _ in rungs]  # the values of each rung

    def goes_on(self, number: int, steps: int, value: float) -> bool:
        """Records a report and decides; what was judged at a rung before is not judged there again."""
        which = self._due(number, steps)
        if which is None or not math.isfinite(value):
            return True
        least = cutoff(self._ascending[which], self.reduction)
        self.rungs[which][1][number] = value
        insort(self._ascending[which], value)
        return least is None or value >= least

    def cutoffs(self) -> dict[int, float | None]:
        """The value that a trial must reach at each rung to go on; None before the first trial got there."""
        ascending = zip(self.rungs, self._ascending)
        return {steps: cutoff(values, self.reduction) for (steps, _), values in ascending}

    def promoted(self) -> None:
        """Nobody: who was stopped stays so."""


class Promotion(_Halving):
    """ASHA as published: a trial pauses at each rung, and goes on when it is among the best 1/reduction there.

    Algorithm 2. A value that is not finite is never among them.
    """

    def __init__(self, rungs: Sequence[int], reduction: int):
        super().__init__(rungs, reduction)
        self._promoted: list[set[int]] = [set() for _ in rungs]

    def goes_on(self, number: int, steps: int, value: float) -> bool:
        """Records a report; False where the trial pauses."""
        which = self._due(number, steps)
        if which is not None and math.isfinite(value):
            self.rungs[which][1][number] = value
        return which is None

    def promoted(self) -> int | None:
        """The paused trial that goes on next, of the highest rung that has one; None where a new one is due."""
        for (_, recorded), before in zip(self.rungs, self._promoted):
            best = sorted(recorded, key=recorded.__getitem__, reverse=True)[: len(recorded) // self.reduction]
            for number in best:
                if number not in before:
                    before.add(number)
                    return number
        return None


def cutoff(ascending: Sequence[float], reduction: int) -> float | None:
    """The quantile 1 - 1/reduction of some finite values; None without any.

    To the last digit that of `numpy.percentile`, by which earlier releases decided and which takes 50 times as long.
    """
    if not ascending:
        return None
    place = (len(ascending) - 1) * ((1 - 1 / reduction) * 100 / 100)
    below = math.floor(place)
    low, high = ascending[below], ascending[min(below + 1, len(ascending) - 1)]
    share = place - below
    return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)


class Expected(NamedTuple):
    """How many steps a search makes, as a share of those that all of its trials would make at full budget."""

    share: float
    low: float  # nine of ten searches lie between the two
    high: float


SEARCHES, MOST = 200, 1000  # simulated; and how many trials each: the share of more is hardly another


def expected(rungs: Sequence[int], reduction: int, budget: int, trials: int) -> Expected:
    """What `Stopping` leaves of a search whose trials are drawn at random, one at a time.

    A trial that is better than another at a rung is so at the next: were ranks to change, fewer steps would be made.

    Args:
        rungs: steps, ascending.
        reduction: one in so many goes on.
        budget: steps of a full trial.
        trials: how many.
    """
    numbers, trials, shares = random.Random(0), min(trials, MOST), []
    for _ in range(max(20, SEARCHES * 100 // max(100, trials))):
        rule, steps = Stopping(rungs, reduction), 0
        for number in range(trials):
            value = numbers.random()
            steps += next((rung for rung in rungs if not rule.goes_on(number, rung, value)), budget)
        shares.append(steps / (trials * budget))
    shares.sort()
    return Expected(sum(shares) / len(shares), shares[len(shares) // 20], shares[-1 - len(shares) // 20])
