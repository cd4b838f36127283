"""What a person sees of a running search: one live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import functools
import math
import sys
import time
from collections.abc import Callable, Sequence
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
from study.record.progress import Pace, Progress
from study.record.trials import best_trial, outcome
from study.record.words import describe, duration, measured, pace
from study.spec.text import counted


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

    Attributes:
        error: what went wrong last, which a search goes on without.
    """

    SILENCE = 60.0  # seconds at least between two lines that say how far the work is; more as the work gets longer

    def __init__(self, opened: OpenRun):
        self.spec, self.study, self.started = opened.spec, opened.study, time.perf_counter()
        self.pace, self.told = Pace(opened), -math.inf
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

    def _tell_pace(self) -> None:
        elapsed = time.perf_counter() - self.started
        if elapsed - self.told >= max(self.SILENCE, elapsed / 20) and (at := self.pace.progress(time.time())):
            self.told = elapsed
            self._say(f"[{elapsed:6.1f} s] {pace(at)}")

    @_harmless
    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._ended(trial.config["number"])

    @_harmless
    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._ended(trial.config["number"])

    def _ended(self, number: int) -> None:
        stored = self.study.get_trials(deepcopy=False)
        if paused_at(stored[number]) is not None:
            self.paused.add(number)
        elif not stored[number].state.is_finished():
            self._say(f"trial {number}: its process was lost; it is started again")
            return
        self._tell_ended([number], stored)
        self._tell_ended(sorted(n for n in self.paused if stored[n].state.is_finished()), stored)

    def _tell_ended(self, numbers: Sequence[int], stored: Sequence[FrozenTrial]) -> None:
        """Says how trials ended, or that they pause."""
        done = sum(trial.state.is_finished() for trial in stored)
        elapsed = time.perf_counter() - self.started
        for number in numbers:
            if stored[number].state.is_finished():
                self.pace.end(number)
                self.paused.discard(number)
            self._say(f"[{elapsed:6.1f} s] {describe(stored[number], self.spec)}   ({done} of {self.spec.trials})")

    def _say(self, line: str) -> None:
        print(line, flush=True)


class Dashboard(Lines):
    """The same lines above a live display: counts, pace, the best so far, and a bar for each running trial."""

    REFRESH = 0.25  # seconds

    def __init__(self, opened: OpenRun, console: Console):
        super().__init__(opened)
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

    def _ended(self, number: int) -> None:
        self.counts, self.best = outcome(self.study), best_trial(self.study)
        super()._ended(number)

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
        return f"{line}\n{pace(at)}" if at else line


def display(opened: OpenRun) -> Lines:
    """The live display where standard output is a terminal, else plain lines."""
    return Dashboard(opened, Console()) if sys.stdout.isatty() else Lines(opened)
