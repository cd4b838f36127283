"""A search that ends by the clock: no trial begins that could not make its full budget in time, and what is still at
work when the time is over is stopped softly, as by a signal, to be gone on with.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from study.record.folder import OpenRun
from study.record.progress import TIME, Pace
from study.record.words import duration
from study.spec.text import counted


class Hours:
    """The time of one session.

    Args:
        given: hours from now on; None is no limit.
        now: the clock, in seconds since 1970.
    """

    def __init__(self, given: float | None, now: Callable[[], float] = time.time):
        self.given, self._now = given, now
        self.end = math.inf if given is None else now() + 3600 * given
        self.pace: Pace | None = None  # of the search, kept up by who sees its reports
        self.refused = False  # a trial that could not have ended in time

    @property
    def over(self) -> bool:
        """Whether nothing may be at work any more."""
        return self._now() >= self.end

    def takes(self) -> bool:
        """Whether a trial that is drawn now can make its full budget in time; before the first report, nobody knows."""
        if self.given is None:
            return True
        ahead = None if self.pace is None else self.pace.forecast()
        if self._now() + (0.0 if ahead is None else ahead.next_full) >= self.end:
            self.refused = True
        return not self.refused

    def fitting(self, begun: int, trials: int) -> str:
        """How many trials are expected to fit, in a line; empty without a limit or before the first report.

        Args:
            begun: trials of the study that have ended or are at work.
            trials: that are asked for.
        """
        ahead = None if self.pace is None else self.pace.forecast()
        if self.given is None or ahead is None:
            return ""
        left = self.end - self._now()
        if ahead.full > left:
            return (
                f"a trial takes {duration(ahead.full)} and {duration(left)} are left: none that begins now ends in time"
            )
        fit = min(
            trials, begun + int(max(0.0, left * ahead.trials - ahead.at_once))
        )  # those at work are to end in it, too
        return f"about {fit} of {counted(trials, 'trial')} fit into {duration(3600 * self.given)}"

    def settle(self, opened: OpenRun) -> OpenRun:
        """The run with as many trials as were begun, where the time has ended the search; the study notes it."""
        begun = len(opened.study.get_trials(deepcopy=False))
        if not (self.refused or self.over) or begun >= opened.spec.trials or not begun:
            return opened
        noted = {"hours": self.given, "asked": opened.spec.trials, "begun": begun}
        opened.study.set_user_attr(TIME, [*opened.study.user_attrs.get(TIME, []), noted])
        return opened._replace(spec=opened.spec.model_copy(update={"trials": begun}))
