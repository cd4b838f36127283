"""A search simulated: stored curves, handed to workers in an order and judged by the rule that a search decides by."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Collection, Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from study.record.pauses import Turn
from study.spec import StudySpec
from study.spec.halving import Rule
from study.spec.measures import PLACE

ENDED = "ENDED"  # the state of a trial, PRUNED in the study, that `stop_on` ended: it would have under any rule


class Curve(NamedTuple):
    """What is stored of one trial: a number a report."""

    number: int
    state: str
    steps: tuple[int, ...]
    values: tuple[float, ...]  # of the first objective; larger is better
    seconds: tuple[float, ...]  # of work on it until then; NaN in runs of earlier releases

    @property
    def whole(self) -> bool:
        """Whether nothing would have followed: it made its full budget, failed, or `stop_on` ended it."""
        return self.state in ("COMPLETE", "FAIL", ENDED)


class Outcome(NamedTuple):
    """What became of a replayed search."""

    steps: int
    seconds: float  # from the start to the end of the last trial
    complete: list[int]  # numbers of the trials that made their full budget, in the order of their ends
    stopped: dict[int, int]  # number -> steps of those that were stopped, or paused and never went on
    unknown: dict[int, int]  # number -> steps of those that were to go on past what is stored of them


def simulate(curves: Iterable[Curve], rule: Rule, workers: int = 1) -> Outcome:
    """Has workers go through trials in an order, each as fast as it was.

    A worker that is free goes on with a trial that the rule promotes, else begins the next; once all have begun and
    nobody is at work, the best of the paused ones go on, as far as the rule wants more to be complete. Nothing else
    takes time: no start, no checkpoint that is read.

    Args:
        curves: the trials, in the order in which they are begun.
        rule: who goes on; rungs that nobody has reached yet.
        workers: how many trials are at work at once.
    """
    waiting, known, made = deque[Curve](), dict[int, Curve](), dict[int, int]()
    for curve in curves:
        known[curve.number], made[curve.number] = curve, 0
        if curve.steps:
            waiting.append(curve)
    complete: list[int] = []
    stopped: dict[int, int] = {}
    unknown: dict[int, int] = {}
    at_work: list[tuple[float, int, Curve]] = []  # a heap: when each reports; of two at once the one that began first
    clock, begun = 0.0, itertools.count()

    def due() -> Curve | None:
        while (number := rule.promoted()) is not None:
            if going_on(number):
                return known[number]
        if waiting:
            return waiting.popleft()
        while rule.whole.issuperset(curve.number for _, _, curve in at_work):
            if (number := rule.finishing()) is None:
                break
            if going_on(number):
                return known[number]
        return None

    def going_on(number: int) -> bool:
        """Takes up a paused trial, of which more may be stored."""
        steps = stopped.pop(number)
        if made[number] < len(known[number].steps):
            return True
        if known[number].whole:  # what failed, fails there again
            rule.end(number)
        else:
            unknown[number] = steps
        return False

    def work_on(curve: Curve) -> None:
        k = made[curve.number]
        took = curve.seconds[k] - (curve.seconds[k - 1] if k else 0.0)
        heapq.heappush(at_work, (clock + took, next(begun), curve))

    while True:
        while len(at_work) < workers and (next_one := due()) is not None:
            work_on(next_one)
        if not at_work:
            steps = sum(known[number].steps[k - 1] for number, k in made.items() if k)
            return Outcome(steps, clock, complete, stopped, unknown)
        clock, _, curve = heapq.heappop(at_work)
        k = made[curve.number]
        made[curve.number] = k + 1
        goes_on = rule.goes_on(curve.number, curve.steps[k], curve.values[k])
        ended = k + 1 == len(curve.steps)
        if ended and curve.state == "COMPLETE":
            complete.append(curve.number)
            rule.end(curve.number, complete=True)
        elif not goes_on:
            stopped[curve.number] = curve.steps[k]
        elif not ended:
            work_on(curve)
        elif curve.whole:
            rule.end(curve.number)
        else:
            unknown[curve.number] = curve.steps[k]


def own_decisions(
    spec: StudySpec, reports: pd.DataFrame, turns: Iterable[Turn] = (), ended: Collection[int] = ()
) -> dict[int, int]:
    """Whom ASHA stops, and at which step, where it judges the reports of a study once more in their own order.

    Of one whose trials pause, who does at last: at each turn that the study took, the rule says whose it was.

    Args:
        spec: of the study, with ASHA.
        reports: one row a report, as `analysis.curves` has them.
        turns: of the study, in order.
        ended: numbers of the trials that `stop_on` ended, with their last reports.
    """
    rule, stopped, coming = spec.rule(), dict[int, int](), deque(turns)
    last = reports.groupby("number")["steps"].max()
    known = in_order(reports)
    ordered = reports.sort_values(PLACE if known else ["reported", "steps"], kind="stable")
    places = ordered[PLACE] if known else range(len(ordered))
    values = ordered[spec.objectives[0]].astype(float)
    for place, number, steps, value in zip(places, ordered["number"], ordered["steps"], values):
        while coming and coming[0].place <= place:
            _take(coming.popleft(), rule, stopped)
        goes_on = rule.goes_on(number, steps, value)
        if number in ended and steps == last[number]:
            rule.end(number)
        elif not goes_on and steps < spec.steps:
            stopped[number] = steps
        elif steps == spec.steps and np.isfinite(value):
            rule.end(number, complete=True)
    for turn in coming:
        _take(turn, rule, stopped)
    return stopped


def _take(turn: Turn, rule: Rule, stopped: dict[int, int]) -> None:
    """Has the rule say who goes on, where a study handed a trial out; also who, instead of one that was new there."""
    if turn.away:
        rule.end(turn.number)
        return
    number = rule.best_paused() if turn.whole else rule.promoted()
    if number is not None:
        stopped.pop(number)


def in_order(reports: pd.DataFrame) -> bool:
    """Whether it is known in which order ASHA judged these reports; earlier releases kept the second of each only."""
    return bool(reports[PLACE].notna().all())
