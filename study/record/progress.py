"""How far a search is: steps made, their rate, and the time left at most; from the study, kept up report by report."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from study.record.folder import OpenRun
from study.record.trials import reports

SESSIONS = "sessions"  # an attribute of the study: when each process began to search, in seconds since 1970


class Progress(NamedTuple):
    """Where the work stands at some time."""

    steps: int  # of all trials, in all sessions
    sessions: int  # how often it was begun
    elapsed: float  # seconds of search, in all sessions; what lay between them does not count
    rate: float  # steps a second in the last session, of all trials at work together
    left: float  # seconds at that rate, if ASHA stops no trial any more: at most


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
        self._before, self._elapsed = self._total(), _worked(self.sessions, times)
        for one in late:
            self.report(*one)
        self._running = {trial.number for trial in trials if not trial.state.is_finished()}
        self.ended = {trial.number for trial in trials} - self._running

    def report(self, number: int, steps: int, seconds: float, reported: float) -> None:
        """Takes a report: the trial's number, its steps and seconds of work so far, and when it was made."""
        steps_before, seconds_before = self._made.get(number, (0, 0.0))
        self._running.add(number)
        self._made[number] = (steps, seconds)
        if self.sessions and reported >= self.sessions[-1]:
            self.last = max(reported, self.last or reported)
            self._first = min(self._first, reported - (seconds - seconds_before))
        else:  # the checkpoint's, of an earlier session
            made, worked = self._before
            self._before = (made + steps - steps_before, worked + seconds - seconds_before)

    def end(self, number: int) -> None:
        """Takes the end of a trial."""
        self._running.discard(number)
        self.ended.add(number)

    def progress(self, now: float) -> Progress | None:
        """Where the work stands; None before the last session's first report.

        The rate is that between the first work of the session, after its processes had started, and its last report.
        The time left is no shorter than the longest of the trials takes alone.

        Args:
            now: in seconds since 1970.
        """
        if self.last is None:
            return None
        (steps, seconds), (steps_before, seconds_before) = self._total(), self._before
        made, worked = steps - steps_before, seconds - seconds_before
        if made <= 0 or worked <= 0:
            return None
        rate, alone = made / (self.last - self._first), made / worked
        owed = [self.spec.steps - self._made.get(number, (0, 0.0))[0] for number in self._running]
        owed += [self.spec.steps] * (self.spec.trials - len(self.ended) - len(self._running))
        left = max(sum(owed) / rate, max(owed, default=0) / alone)
        return Progress(steps, len(self.sessions), self._elapsed + max(0.0, now - self.sessions[-1]), rate, left)

    def _total(self) -> tuple[int, float]:
        """Steps and seconds of all trials."""
        return sum(steps for steps, _ in self._made.values()), sum(seconds for _, seconds in self._made.values())


def _worked(sessions: Sequence[float], times: Sequence[float]) -> float:
    """Seconds of all sessions but the last, each from its beginning to its last report."""
    ends = [max((t for t in times if start <= t < end), default=start) for start, end in pairwise(sessions)]
    return sum(end - start for start, end in zip(sessions, ends))
