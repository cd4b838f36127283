"""How far a search is: steps made, their rate, and the time left; from the study, kept up report by report."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

from study.record.folder import OpenRun
from study.record.trials import reports
from study.spec import StudySpec
from study.spec.halving import Expected, expected

EIGHT = 8  # of how many trials what ASHA is expected to leave counts, beside what it left of those that ended
SESSIONS = "sessions"  # an attribute of the study: when each process began to search, in seconds since 1970
TIME = "time"  # another: hours, trials asked for and trials begun of each session that ended by the clock


class Progress(NamedTuple):
    """Where the work stands at some time."""

    steps: int  # of all trials, in all sessions
    sessions: int  # how often it was begun
    elapsed: float  # seconds of search, in all sessions; what lay between them does not count
    rate: float  # steps a second in the last session, of all trials at work together
    left: float  # seconds at that rate, if ASHA stops no trial any more: at most


class Forecast(NamedTuple):
    """What is ahead, if ASHA leaves of the trials what it has left of others and is expected to leave."""

    left: float  # seconds
    at_once: float  # trials at work
    full: float  # seconds that a trial of the full budget takes
    next_full: float  # seconds until one that waits for the next trial to end would have made the full budget
    trials: float  # a second, begun and ended


def begin(opened: OpenRun) -> None:
    """Notes in the study that a search begins; for who holds the run."""
    before = opened.study.user_attrs.get(SESSIONS, [])
    opened.study.set_user_attr(SESSIONS, [*before, time.time()])


class Pace:
    """The pace of a run's search, as its study has it; `report` and `end` keep it up.

    Args:
        opened: the run.

    Attributes:
        ended: numbers of the trials that have.
        last: when the last session made its last report, in seconds since 1970; None before its first.
    """

    def __init__(self, opened: OpenRun):
        self.spec = opened.spec
        self.sessions: list[float] = opened.study.user_attrs.get(SESSIONS, [])
        self.last: float | None = None
        self._first = math.inf  # when the first trial of the last session was at work
        self._made: dict[int, tuple[int, float]] = {}  # number -> steps and seconds of its last report
        self._running: set[int] = set()
        self.ended: set[int] = set()
        self._ended_steps = 0  # that these made
        begun = self.sessions[-1] if self.sessions else math.inf
        times: list[float] = []
        late: list[tuple[int, int, float, float]] = []
        trials = opened.study.get_trials(deepcopy=False)
        for trial in trials:
            for steps, report in reports(trial).items():
                reported, seconds = report.get("reported", 0.0), report.get("seconds") or 0.0
                times.append(reported)
                if reported >= begun:
                    late.append((trial.number, steps, seconds, reported))
                else:
                    self._made[trial.number] = (steps, seconds)
        made = self._made.values()
        self._total = sum(steps for steps, _ in made), sum(seconds for _, seconds in made)  # of all trials
        self._before = self._total
        self._elapsed = _worked(self.sessions, times)
        for one in late:
            self.report(*one)
        self._running = {trial.number for trial in trials if not trial.state.is_finished()}
        self.ended = {trial.number for trial in trials} - self._running
        self._ended_steps = sum(self._made.get(number, (0, 0.0))[0] for number in self.ended)

    def report(self, number: int, steps: int, seconds: float, reported: float) -> None:
        """Takes a report: the trial's number, its steps and seconds of work so far, and when it was made."""
        steps_before, seconds_before = self._made.get(number, (0, 0.0))
        self._running.add(number)
        self._made[number] = (steps, seconds)
        total, worked = self._total
        self._total = total + steps - steps_before, worked + seconds - seconds_before
        if self.sessions and reported >= self.sessions[-1]:
            self.last = max(reported, self.last or reported)
            self._first = min(self._first, reported - (seconds - seconds_before))
        else:  # the checkpoint's, of an earlier session
            made, worked = self._before
            self._before = (made + steps - steps_before, worked + seconds - seconds_before)

    def end(self, number: int) -> None:
        """Takes the end of a trial."""
        self._running.discard(number)
        if number not in self.ended:
            self.ended.add(number)
            self._ended_steps += self._made.get(number, (0, 0.0))[0]

    def progress(self, now: float) -> Progress | None:
        """Where the work stands; None before the last session's first report.

        The rate is that between the first work of the session, after its processes had started, and its last report.
        The time left is no shorter than the longest of the trials takes alone.

        Args:
            now: in seconds since 1970.
        """
        rates = self._rates()
        if rates is None:
            return None
        elapsed = self._elapsed + max(0.0, now - self.sessions[-1])
        return Progress(self._total[0], len(self.sessions), elapsed, rates[0], self._left(*rates))

    def forecast(self) -> Forecast | None:
        """What is ahead; None before the last session's first report."""
        rates = self._rates()
        if rates is None:
            return None
        rate, alone = rates
        share, full = self._share(), self.spec.steps / alone
        next_end = min(self._owed(), default=0) / alone
        return Forecast(
            share * self._left(*rates), rate / alone, full, next_end + full, rate / (share * self.spec.steps)
        )

    def _rates(self) -> tuple[float, float] | None:
        """Steps a second of the last session: of all trials together, and of one."""
        (steps, seconds), (steps_before, seconds_before) = self._total, self._before
        made, worked = steps - steps_before, seconds - seconds_before
        if self.last is None or made <= 0 or worked <= 0:
            return None
        return made / (self.last - self._first), made / worked

    def _owed(self) -> list[int]:
        """Steps to the full budget of each trial that is at work."""
        return [self.spec.steps - self._made.get(number, (0, 0.0))[0] for number in self._running]

    def _left(self, rate: float, alone: float) -> float:
        """Seconds for all steps to the full budget."""
        owed, new = self._owed(), self.spec.trials - len(self.ended) - len(self._running)
        longest = self.spec.steps if new > 0 else max(owed, default=0)
        return max((sum(owed) + max(0, new) * self.spec.steps) / rate, longest / alone)

    def _share(self) -> float:
        """Of the steps of a full trial, those that one is expected to make; without ASHA all."""
        if self.spec.asha is None:
            return 1.0
        ended = self._ended_steps / self.spec.steps
        return (EIGHT * self._expected + ended) / (EIGHT + len(self.ended))

    @cached_property
    def _expected(self) -> float:
        return expected_of(self.spec).share


def expected_of(spec: StudySpec) -> Expected:
    """How many steps the search of a study with ASHA is expected to make, see `study.spec.halving.expected`."""
    asha = spec.asha
    assert asha is not None
    return expected(spec.rungs, asha.reduction, spec.steps, spec.trials, asha.mode, spec.least_complete)


def memory(reports: Iterable[Mapping[str, Any]]) -> int:
    """Bytes that the processes of trials have taken at most, of the last report of each; 0 where none says it."""
    return sum(report.get("peak_memory") or 0 for report in reports)


def _worked(sessions: Sequence[float], times: Sequence[float]) -> float:
    """Seconds of all sessions but the last, each from its beginning to its last report."""
    ends = [max((t for t in times if start <= t < end), default=start) for start, end in pairwise(sessions)]
    return sum(end - start for start, end in zip(sessions, ends))
