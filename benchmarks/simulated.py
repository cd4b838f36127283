"""A search without Ray: the real searcher, scheduler, ledger and storage, of trials that only report."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from study.record import first
from study.record.folder import OpenRun
from study.record.progress import begin
from study.tune.display import Lines
from study.tune.ledger import Ledger
from study.tune.scheduler import Asha
from study.tune.searcher import HandOut
from study.tune.turns import InTurn


class Reported(NamedTuple):
    """What a trial reports, and how long it worked for that."""

    seconds: float
    report: dict[str, Any]


Curve = Sequence[Reported]
"""The reports of a trial, to its full budget."""


class Simulated:
    """Of one of Ray Tune's trials what the searcher, the scheduler and the callbacks look at."""

    def __init__(self, config: dict[str, Any], left: Iterator[Reported]):
        self.trial_id, self.config, self.left = f"simulated {config['number']}", config, left
        self.last_result: dict[str, Any] = {}
        self.num_failures = self.max_failures = 0

    def work(self, budget: int) -> float:
        """Goes on to its next report; how long that takes."""
        seconds, report = next(self.left)
        self.last_result = {**report, "reported": time.time(), "cause": "", "done": report["steps"] == budget}
        return seconds


class Silent(Lines):
    """The display, whose lines nobody reads."""

    def _say(self, line: str) -> None:
        pass


class Simulation:
    """A search by `study.tune.runner`'s parts, called as Ray Tune calls them.

    Args:
        opened: a new run.
        curve: what a trial reports, from what it is handed out with.
        at_once: trials at work at a time.
    """

    def __init__(self, opened: OpenRun, curve: Callable[[dict[str, Any]], Curve], at_once: int):
        first.enqueue(opened)
        begin(opened)
        self.spec, self.curve, self.at_once = opened.spec, curve, at_once
        self.ledger = Ledger(opened)
        self.callbacks: list[tune.Callback] = [self.ledger, Silent(opened)]
        self.scheduler = FIFOScheduler() if opened.spec.asha is None else Asha(opened.spec)
        if opened.spec.pauses:
            assert isinstance(self.scheduler, Asha)
            self.ledger.follow(self.scheduler.rule)
            given = (self.scheduler.rule, self.ledger, lambda: at_once)
            self.searcher: HandOut = InTurn(opened, None, [], *given)
        else:
            self.searcher = HandOut(opened, None, [])
        self.left: dict[int, Iterator[Reported]] = {}  # number -> what it has not reported yet

    def ends(self) -> Iterator[tuple[float, Simulated]]:
        """Runs all trials; each that ends or pauses, and when, in seconds from the start."""
        at_work: list[tuple[float, int, Simulated]] = []  # a heap: when each reports
        now = 0.0
        while True:
            while len(at_work) < self.at_once and (trial := self._begin()) is not None:
                heapq.heappush(at_work, (now + trial.work(self.spec.steps), trial.config["number"], trial))
            if not at_work:
                break
            now, number, trial = heapq.heappop(at_work)
            if self._goes_on(trial):
                heapq.heappush(at_work, (now + trial.work(self.spec.steps), number, trial))
            else:
                yield now, trial
        self.ledger.close()

    def _begin(self) -> Simulated | None:
        """Who is next, if anybody is."""
        if not self.spec.pauses and len(self.left) == self.spec.trials:
            return None
        config = self.timed("suggest", self.searcher.suggest, f"simulated {len(self.left)}")
        if config is None or config == Searcher.FINISHED:
            return None
        number = config["number"]
        trial = Simulated(config, self.left.setdefault(number, iter(self.curve(config))))
        self._call("write", "on_trial_start", trial)
        return trial

    def _goes_on(self, trial: Simulated) -> bool:
        result = trial.last_result
        if result["done"]:
            self.timed("judge", self.scheduler.on_trial_complete, None, trial, result)
        else:
            decision = self.timed("judge", self.scheduler.on_trial_result, None, trial, result)
            result["done"] = decision == TrialScheduler.STOP
        self._call("write", "on_trial_result", trial, result=result)
        if result["done"]:
            self.searcher.on_trial_complete(trial.trial_id)
            self._call("end", "on_trial_complete", trial)
        return not result["done"]

    def _call(self, kind: str, event: str, trial: Simulated, **given: Any) -> None:
        for callback in self.callbacks:
            self.timed(kind, getattr(callback, event), iteration=0, trials=[], trial=trial, **given)
        if self.ledger.halt:
            raise RuntimeError(self.ledger.halt)

    def timed(self, kind: str, work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Does a piece of the driver's work: suggest, judge, write or end."""
        return work(*arguments, **named)
