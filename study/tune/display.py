"""What a person sees of a running search: one live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from typing import Any

from ray import tune
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from study.record.folder import OpenRun
from study.record.trials import best_trial, outcome
from study.record.words import describe, number_text


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
    """A plain line for every trial that ends. It reads the study, so it must come after the ledger.

    Args:
        opened: the run whose study the ledger writes.

    Attributes:
        error: what went wrong last, which a search goes on without.
    """

    def __init__(self, opened: OpenRun):
        self.spec, self.study, self.started = opened.spec, opened.study, time.perf_counter()
        self.error: Exception | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {}

    @_harmless
    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        for note in result.get("notes", ()):
            self._say(f"trial {trial.config['number']}: {note}")

    @_harmless
    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._ended(trial.config["number"])

    @_harmless
    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._ended(trial.config["number"])

    def _ended(self, number: int) -> None:
        stored = self.study.get_trials(deepcopy=False)
        if not stored[number].state.is_finished():
            self._say(f"trial {number}: its process was lost; it is started again")
            return
        done = sum(trial.state.is_finished() for trial in stored)
        elapsed = time.perf_counter() - self.started
        self._say(f"[{elapsed:6.1f} s] {describe(stored[number], self.spec)}   ({done} of {self.spec.trials})")

    def _say(self, line: str) -> None:
        print(line, flush=True)


class Dashboard(Lines):
    """The same lines above a live display: counts, the best so far, the time left, and a bar for each running trial."""

    REFRESH = 0.25  # seconds

    def __init__(self, opened: OpenRun, console: Console):
        super().__init__(opened)
        self.live = Live(console=console, refresh_per_second=4, transient=True)
        self.finished_before = sum(outcome(self.study)[:3])
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

    def _ended(self, number: int) -> None:
        self.counts, self.best = outcome(self.study), best_trial(self.study)
        super()._ended(number)

    def _say(self, line: str) -> None:
        self.live.console.print(line, highlight=False, markup=False)

    def picture(self, running: list) -> Group:
        """The display: a line of counts, one for the best trial, and a bar for each of the running trials."""
        bars = Table.grid(padding=(0, 2))
        for trial in running:
            result = trial.last_result or {}
            steps, value = result.get("steps", 0), result.get(self.spec.objectives[0])
            number = trial.config["number"]
            said = "" if value is None else f"{self.spec.objectives[0]} {number_text(value)}"
            bars.add_row(f"trial {number}", ProgressBar(self.spec.steps, steps, width=30), f"{steps} steps", said)
        best = "none complete yet" if self.best is None else describe(self.best, self.spec)
        return Group(Text(self._line(len(running))), Text(f"best: {best}"), bars)

    def _line(self, running: int) -> str:
        done = sum(self.counts[:3])
        ended = f"{self.counts.complete} complete, {self.counts.pruned} pruned, {self.counts.failed} failed"
        line = f"{self.spec.name}: {done} of {self.spec.trials} trials: {ended}, {running} running"
        worked = done - self.finished_before
        if worked:
            left = (time.perf_counter() - self.started) / worked * (self.spec.trials - done)
            line += f"; about {duration(left)} left"
        return line


def display(opened: OpenRun) -> Lines:
    """The live display where standard output is a terminal, else plain lines."""
    return Dashboard(opened, Console()) if sys.stdout.isatty() else Lines(opened)


def duration(seconds: float) -> str:
    """Seconds as a person says them: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
