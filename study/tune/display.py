"""What a person sees of a running search: one live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import functools
import math
import sys
import time
from collections.abc import Callable
from typing import Any

from optuna.trial import FrozenTrial
from ray import tune
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from study.record.folder import OpenRun
from study.record.pauses import paused, paused_at
from study.record.progress import Pace, Progress, memory
from study.record.trials import RAN_OUT, best_trial, outcome, stored_trial
from study.record.words import cost, describe, duration, measured, pace
from study.spec.text import counted
from study.tune.hours import Hours


def _harmless(show: Callable[..., None]) -> Callable[..., None]:
    """A callback that raises nothing: Ray would take it for the trial's failure."""

    @functools.wraps(show)
    def guarded(self: Lines, *given: Any, **info: Any) -> None:
        try:
            show(self, *given, **info)
        except Exception as error:
            self.error = error

    return guarded


class Lines(tune.Callback):
    """A plain line for every trial that ends, and one now and then that says how far the work is.

    It reads the study, so it must come after the ledger.

    Args:
        opened: the run whose study the ledger writes.
        hours: the time of this session, which is given its pace.

    Attributes:
        error: what went wrong last, which a search goes on without.
    """

    FILLED = 15.0  # seconds in which the processes for as many trials as have room are started
    SILENCE = 60.0  # seconds at least between two lines that say how far the work is; more as the work gets longer

    def __init__(self, opened: OpenRun, hours: Hours | None = None):
        self.spec, self.study, self.started = opened.spec, opened.study, time.perf_counter()
        self.pace, self.told = Pace(opened), -math.inf
        self.hours, self.estimated = hours or Hours(None), False
        self.most = 0  # trials that were at work at once so far
        self.hours.pace = self.pace
        self.paused = {trial.number for trial in paused(self.study)}  # who did when this display looked last
        self.error: Exception | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {}

    @_harmless
    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        for note in result.get("notes", ()):
            self._say(f"trial {trial.config['number']}: {note}")
        if not result.get("cause"):
            self.pace.report(trial.config["number"], result["steps"], result["seconds"], result.get("reported", 0.0))
            self._tell_pace()
            others = [one.last_result or {} for one in trials if one.status == "RUNNING" and one is not trial]
            self._tell_cost([*others, result])

    def _tell_pace(self) -> None:
        elapsed = time.perf_counter() - self.started
        if elapsed - self.told >= max(self.SILENCE, elapsed / 20) and (at := self.pace.progress(time.time())):
            self.told = elapsed
            self._say(f"[{elapsed:6.1f} s] {pace(at, self.pace.forecast())}")

    def _tell_cost(self, reports: list[dict]) -> None:
        """Once as many as ever are at work and have reported, what the search is expected to take and how much fits."""
        self.most = max(self.most, len(reports))
        started = time.perf_counter() - self.started >= self.FILLED
        if self.estimated or not started or len(reports) < self.most or not all("steps" in one for one in reports):
            return
        if (at := self.pace.progress(time.time())) and (ahead := self.pace.forecast()):
            self.estimated = True
            self._say(cost(at, ahead._replace(at_once=len(reports)), memory(reports)))
            begun = sum(trial.state.is_finished() for trial in self.study.get_trials(deepcopy=False)) + len(reports)
            if line := self.hours.fitting(begun, self.spec.trials):
                self._say(line)

    @_harmless
    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._ended(trial.config["number"])

    @_harmless
    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._ended(trial.config["number"], lost=True)

    def _ended(self, number: int, lost: bool = False) -> None:
        """Says how a trial ended, or why it goes on later; nothing where the search is halted."""
        stored = stored_trial(self.study, number)
        if paused_at(stored) is not None:
            self.paused.add(number)
        elif not stored.state.is_finished():
            if lost:
                self._say(f"trial {number}: its process was lost; it is started again")
            elif RAN_OUT in stored.user_attrs:
                later = "it is tried again alone, when the others have ended"
                self._say(f"trial {number}: {stored.user_attrs[RAN_OUT]}; {later}")
            return
        self._tell_ended(stored)
        if others := self.paused - {number}:  # one that ends may put another away
            trials = self.study.get_trials(deepcopy=False)
            for other in sorted(others):
                if trials[other].state.is_finished():
                    self._tell_ended(trials[other])

    def _tell_ended(self, stored: FrozenTrial) -> None:
        """Says how a trial ended, or that it pauses."""
        if stored.state.is_finished():
            self.pace.end(stored.number)
            self.paused.discard(stored.number)
        done, elapsed = len(self.pace.ended), time.perf_counter() - self.started
        self._say(f"[{elapsed:6.1f} s] {describe(stored, self.spec)}   ({done} of {self.spec.trials})")

    def _say(self, line: str) -> None:
        print(line, flush=True)


class Dashboard(Lines):
    """The same lines above a live display: counts, pace, the best so far, and a bar for each running trial."""

    REFRESH = 0.25  # seconds

    def __init__(self, opened: OpenRun, console: Console, hours: Hours | None = None):
        super().__init__(opened, hours)
        self.live = Live(console=console, refresh_per_second=4, transient=True)
        self.counts, self.best = outcome(self.study), best_trial(self.study)
        self.shown = 0.0

    @_harmless
    def setup(self, stop: Any = None, num_samples: Any = None, total_num_samples: Any = None, **info: Any) -> None:
        self.live.start()

    @_harmless
    def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
        if time.perf_counter() - self.shown > self.REFRESH:
            self.shown = time.perf_counter()
            self.live.update(self.picture([trial for trial in trials if trial.status == "RUNNING"]))

    @_harmless
    def on_experiment_end(self, trials: list, **info: Any) -> None:
        self.live.stop()

    def _tell_pace(self) -> None:
        """Nothing: the picture says it."""

    def _ended(self, number: int, lost: bool = False) -> None:
        self.counts, self.best = outcome(self.study), best_trial(self.study)
        super()._ended(number, lost)

    def _say(self, line: str) -> None:
        self.live.console.print(Text(line))  # as it is: of text in brackets or between colons it would make something

    def picture(self, running: list) -> Group:
        """The display: a line of counts, one of the pace, one for the best trial, and a bar for each running trial."""
        bars = Table.grid(padding=(0, 2))
        for trial in running:
            result = trial.last_result or {}
            steps, value = result.get("steps", 0), result.get(self.spec.objectives[0])
            number = trial.config["number"]
            said = "" if value is None else measured(self.spec.objectives[0], value)
            made = result.get("reported")
            sign = "no report yet" if made is None else f"reported {duration(max(0.0, time.time() - made))} ago"
            bar = ProgressBar(self.spec.steps, steps, width=30)
            bars.add_row(f"trial {number}", bar, counted(steps, "step"), said, sign)
        best = "none complete yet" if self.best is None else describe(self.best, self.spec)
        at = self.pace.progress(time.time())
        pausing = len(self.paused - {trial.config["number"] for trial in running})
        return Group(Text(self._line(len(running), pausing, at)), Text(f"best: {best}"), bars)

    def _line(self, running: int, pausing: int, at: Progress | None) -> str:
        done = sum(self.counts[:3])
        ended = f"{self.counts.complete} complete, {self.counts.pruned} pruned, {self.counts.failed} failed"
        line = f"{self.spec.name}: {done} of {counted(self.spec.trials, 'trial')}: {ended}, {running} running"
        if pausing:
            line += f", {pausing} paused"
        return f"{line}\n{pace(at, self.pace.forecast())}" if at else line


def display(opened: OpenRun, hours: Hours | None = None) -> Lines:
    """The live display where standard output is a terminal, else plain lines."""
    return Dashboard(opened, Console(), hours) if sys.stdout.isatty() else Lines(opened, hours)
