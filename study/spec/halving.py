"""Successive halving: who goes on at a rung. Numbers in, decisions out; a search asks it, and a replay of one.

Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020). Larger values are better; those that
are not finite stay out of the rungs.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import NamedTuple


class _Halving:
    """What the trials had reached at each rung, and which of them pause there.

    Args:
        rungs: steps, ascending.
        reduction: one in so many goes on.
        complete: so many trials are to make their full budget, where there are as many.

    Attributes:
        rungs: (steps, {number of the trial: value}), the highest first, in the order in which trials got there.
        paused: number -> (its rung, its value there) of the trials that were stopped and may still go on.
        whole: the trials that go on to the end of their budget, whatever they reach on the way.
    """

    def __init__(self, rungs: Sequence[int], reduction: int, complete: int = 0):
        self.rungs: list[tuple[int, dict[int, float]]] = [(steps, {}) for steps in reversed(rungs)]
        self.reduction, self.complete = reduction, complete
        self.paused: dict[int, tuple[int, float]] = {}
        self.whole: set[int] = set()
        self._made = 0  # trials that made their full budget
        self._went_on: Counter[int] = Counter()  # steps of a rung: how many were promoted from there

    def _due(self, number: int, steps: int) -> int | None:
        """Which is the highest rung that a trial has reached and is not recorded at."""
        for which, (milestone, recorded) in enumerate(self.rungs):
            if steps >= milestone and number not in recorded:
                return which
        return None

    def record(self, number: int, steps: int, value: float) -> None:
        """Takes over a report that was judged before."""
        which = self._due(number, steps)
        if which is not None and math.isfinite(value):
            self._record(which, number, value)

    def _record(self, which: int, number: int, value: float) -> None:
        self.rungs[which][1][number] = value

    def pause(self, number: int, steps: int) -> None:
        """Has a trial pause at the highest rung that it has reached."""
        for milestone, recorded in self.rungs:
            if steps >= milestone and number in recorded:
                self.paused[number] = (milestone, recorded[number])
                break
        self._release()

    def went_on(self, steps: int) -> None:
        """Takes over that a trial was promoted from the rung at these steps."""
        self._went_on[steps] += 1

    def end(self, number: int, complete: bool = False) -> None:
        """Takes the end of a trial, which made its full budget or did not."""
        self.paused.pop(number, None)
        self.whole.discard(number)
        self._made += complete
        self._release()

    def _release(self) -> None:
        """Lets go of paused trials that cannot go on any more."""

    def best_paused(self) -> int | None:
        """The best of the highest rung among the paused trials, of two the one drawn first; it goes on to the end."""
        number = max(self.paused, key=lambda number: (*self.paused[number], -number), default=None)
        if number is not None:
            del self.paused[number]
            self.whole.add(number)
        return number

    def finishing(self) -> int | None:
        """The paused trial that goes on to the end of its budget when nobody else can; None where enough do or did."""
        return self.best_paused() if self._made + len(self.whole) < self.complete else None


class Stopping(_Halving):
    """ASHA that stops: a trial goes on where it is no worse than the quantile 1 - 1/reduction of those before it.

    Decides as Ray's AsyncHyperBandScheduler does, which holds the rungs under ids that a resumed run has not. As long
    as fewer than `complete` trials are complete, that many of the stopped ones pause, the best of the highest rung.
    """

    def __init__(self, rungs: Sequence[int], reduction: int, complete: int = 0):
        super().__init__(rungs, reduction, complete)
        self._ascending: list[list[float]] = [[] for _ in rungs]  # the values of each rung

    def goes_on(self, number: int, steps: int, value: float) -> bool:
        """Records a report and decides; what was judged at a rung before is not judged there again."""
        which = self._due(number, steps)
        if which is None or not math.isfinite(value):
            return True
        least = cutoff(self._ascending[which], self.reduction)
        self._record(which, number, value)
        if least is None or value >= least or number in self.whole:
            return True
        self.pause(number, steps)
        return False

    def _record(self, which: int, number: int, value: float) -> None:
        super()._record(which, number, value)
        insort(self._ascending[which], value)

    def _release(self) -> None:
        kept = 0 if self._made >= self.complete else self.complete
        while len(self.paused) > kept:
            del self.paused[min(self.paused, key=lambda number: (*self.paused[number], -number))]

    def cutoffs(self) -> dict[int, float | None]:
        """The value that a trial must reach at each rung to go on; None before the first trial got there."""
        ascending = zip(self.rungs, self._ascending)
        return {steps: cutoff(values, self.reduction) for (steps, _), values in ascending}

    def promoted(self) -> None:
        """Nobody: who was stopped stays so, as long as there are new trials."""


class Promotion(_Halving):
    """ASHA that promotes: a trial pauses at each rung, and goes on when it is among the best 1/reduction there.

    Algorithm 2, but that no more go on from a rung altogether than `most` says: with a sampler that learns, each trial
    is better than most before it, and by rank alone nearly all of them went on. A value that is not finite is never
    among the best.
    """

    def __init__(self, rungs: Sequence[int], reduction: int, complete: int = 0):
        super().__init__(rungs, reduction, complete)
        self._ranked: list[list[tuple[float, int]]] = [[] for _ in rungs]  # (-value, number): the best first
        self._waiting: list[list[tuple[float, int]]] = [[] for _ in rungs]  # heaps; some of these have gone on

    def goes_on(self, number: int, steps: int, value: float) -> bool:
        """Records a report; False where the trial pauses."""
        which = self._due(number, steps)
        self.record(number, steps, value)
        if which is None or number in self.whole:
            return True
        if math.isfinite(value):
            self.pause(number, steps)
        return False

    def _record(self, which: int, number: int, value: float) -> None:
        super()._record(which, number, value)
        insort(self._ranked[which], (-value, number))

    def pause(self, number: int, steps: int) -> None:
        """Has a trial pause at the highest rung that it has reached."""
        super().pause(number, steps)
        if number in self.paused:
            milestone, value = self.paused[number]
            which = [steps for steps, _ in self.rungs].index(milestone)
            heappush(self._waiting[which], (-value, number))

    def promoted(self) -> int | None:
        """The paused trial that goes on next, of the highest rung that has one; None where a new one is due."""
        for (milestone, _), ranked, waiting in zip(self.rungs, self._ranked, self._waiting):
            while waiting and self.paused.get(waiting[0][1]) != (milestone, -waiting[0][0]):
                heappop(waiting)
            best = len(ranked) // self.reduction
            if waiting and bisect_left(ranked, waiting[0]) < best and self._went_on[milestone] < most(best):
                _, number = heappop(waiting)
                del self.paused[number]
                self.went_on(milestone)
                return number
        return None


def most(best: int) -> int:
    """How many may have gone on from a rung whose best 1/reduction are so many: one and a half times that, and one.

    In random order, hardly ever as many do: who was among the best of the first few there, and is not of all.
    """
    return best + best // 2 + 1


Rule = Stopping | Promotion
RULES: dict[str, type[Stopping] | type[Promotion]] = {"stop": Stopping, "promote": Promotion}


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


def expected(
    rungs: Sequence[int], reduction: int, budget: int, trials: int, mode: str = "stop", complete: int = 0
) -> Expected:
    """What ASHA leaves of a search whose trials are drawn at random, one at a time.

    A trial that is better than another at a rung is so at the next: were ranks to change, fewer steps would be made.

    Args:
        rungs: steps, ascending.
        reduction: one in so many goes on.
        budget: steps of a full trial.
        trials: how many.
        mode: of RULES.
        complete: so many make their full budget at least.
    """
    numbers, trials, shares = random.Random(0), min(trials, MOST), []
    for _ in range(max(20, SEARCHES * 100 // max(100, trials))):
        values = [numbers.random() for _ in range(trials)]
        shares.append(_steps(RULES[mode](rungs, reduction, complete), budget, values) / (trials * budget))
    shares.sort()
    return Expected(sum(shares) / len(shares), shares[len(shares) // 20], shares[-1 - len(shares) // 20])


def _steps(rule: Rule, budget: int, values: Sequence[float]) -> int:
    """Steps of a search of trials that have the same value at every rung."""
    made = [0] * len(values)
    for number in _turns(rule, len(values)):
        for rung, _ in reversed(rule.rungs):
            if rung > made[number]:
                made[number] = rung
                if not rule.goes_on(number, rung, values[number]):
                    break
        else:
            made[number] = budget
            rule.end(number, complete=True)
    return sum(made)


def _turns(rule: Rule, trials: int) -> Iterator[int]:
    """Whose turn it is, one trial at a time: who is promoted, then who is new, then who is to finish."""
    new = iter(range(trials))
    while True:
        number = rule.promoted()
        if number is None:
            number = next(new, None)
        if number is None:
            number = rule.finishing()
        if number is None:
            return
        yield number
