"""The ledger: the only writer of the Optuna study while a search goes on. A Ray Tune callback, because only a callback
sees every result, the one on which the scheduler stops too, and the errors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from optuna.trial import TrialState
from ray import cloudpickle, tune

from study.output import printable
from study.record import pauses
from study.record.backend import reason
from study.record.folder import OpenRun
from study.record.trials import RAN_OUT, End, fail, finish, id_of, is_oom, reports, store_report, take_up
from study.spec.halving import Rule
from study.spec.measures import PLACE
from study.spec.text import counted

LOST_PROCESSES = 3  # how often a trial goes on after its process was lost, without a report in between


class Ledger(tune.Callback):
    """Writes what Ray Tune reports into the study.

    Args:
        opened: the run, held by this process.

    Attributes:
        halt: why the search must give up, empty while it need not: the disk is full, the storage is gone, or too many
            trials have failed. What is not told then, is when the run goes on.
    """

    def __init__(self, opened: OpenRun):
        self.opened = opened
        self.ids: dict[int, int] = {}  # number -> the storage's id
        self.failed = 0  # in this session: a run that goes on starts to count again
        self.halt = ""
        self.left: list[int] = []  # trials whose process was lost, and which Ray did not start again
        self._rule: Rule | None = None  # of a study whose trials pause
        self._paused: set[int] = set()
        self._told: set[int] = set()
        self._lost: Counter[int] = Counter()
        self._places = {  # a report that is made again keeps its own: it is not judged again either
            (trial.number, steps): report[PLACE]
            for trial in opened.study.get_trials(deepcopy=False)
            for steps, report in reports(trial).items()
            if report.get(PLACE) is not None
        }
        self._next = max(self._places.values(), default=-1) + 1

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray pickles callbacks for a restore that is never used; the run goes on with the original

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        if self.halt:
            return
        with suppress(Exception), self._halting():  # raised here, Ray would take it for the trial's
            take_up(self.opened.study, self._id(trial.config["number"]))

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        if result["cause"] or self.halt or trial.config["number"] in self._told:
            return
        number = trial.config["number"]
        place = self._places.setdefault((number, result["steps"]), self._next)
        self._next = max(self._next, place + 1)
        paused = {"done": False, "paused": True} if self._pauses(result) else {}
        with self._halting():  # and so Ray ends the search at once: the trial must not get ahead of the study
            store_report(self.opened.study, self._id(number), {**result, **paused, PLACE: place})
        self._lost.pop(number, None)
        trial.max_failures = trial.num_failures + LOST_PROCESSES  # it got on, and may do so for days

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        result = trial.last_result
        if result.get("halt"):
            self.halt = self.halt or result["cause"]
        number = trial.config["number"]
        if self.halt or number in self._told:
            return
        if is_oom(result["cause"]) and self._puts_off(number, result["cause"]):
            return
        if self._pauses(result):
            self._paused.add(number)
            self._put_away()
            return
        self._end(number, lambda: finish(self.opened, number, result), result["cause"])

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        number = trial.config["number"]
        if self.halt or number in self._told:  # of what another callback raised after the end, Ray makes an error too
            return
        self._lost[number] += 1
        if trial.should_recover() and self._lost[number] <= LOST_PROCESSES:  # in its setup, where Ray retries none
            self.left.append(number)
            return
        cause = _lost(trial)
        self._end(number, lambda: fail(self.opened, number, cause), cause)

    def _puts_off(self, number: int, cause: str) -> bool:
        """Notes that a trial ran out of memory for the first time; it is tried again alone, see `runner`."""
        storage, trial_id = self.opened.study._storage, self._id(number)
        with suppress(Exception), self._halting():  # raised here, Ray would take it for the trial's
            if RAN_OUT in storage.get_trial(trial_id).user_attrs:
                return False
            storage.set_trial_user_attr(trial_id, RAN_OUT, cause)
        return True

    def follow(self, rule: Rule) -> None:
        """Has trials pause as long as the rule, which knows who does, may let them go on."""
        self._rule, self._paused = rule, {*rule.paused}

    def hand_out(self, number: int, whole: bool = False) -> int:
        """Notes that a trial is handed out, to the end of its budget or to its next rung; returns the storage's id."""
        trial_id, study = self._id(number), self.opened.study
        self._paused.discard(number)
        with self._halting():
            steps = pauses.paused_at(study._storage.get_trial(trial_id)) or 0
            pauses.hand_out(study, trial_id, steps, self._next, whole)
        return trial_id

    def close(self) -> None:
        """Ends the trials that pause: the search is over."""
        if self._rule is not None and not self.halt:
            self._rule.paused.clear()
            self._put_away()

    def _pauses(self, result: dict) -> bool:
        """Whether ASHA stopped a trial with this result, so that it may go on later."""
        stopped = result.get("done") and not result.get("ended") and result["steps"] < self.opened.spec.steps
        return self._rule is not None and bool(stopped) and not result["cause"]

    def _put_away(self) -> None:
        """Ends who pauses and cannot go on any more."""
        assert self._rule is not None
        for number in sorted(self._paused - self._rule.paused.keys()):
            if self.halt:
                return
            self._paused.discard(number)
            self._told.add(number)
            with suppress(Exception), self._halting():  # raised in a callback, Ray would take it for the trial's
                pauses.put_away(self.opened, number, self._next)

    @contextmanager
    def _halting(self) -> Iterator[None]:
        """Gives the search up where the study cannot be written, and lets the error through."""
        try:
            yield
        except Exception as error:
            self.halt = f"the study cannot be written: {reason(error)}"
            raise

    def _end(self, number: int, tell: Callable[[], End], cause: str) -> None:
        with suppress(Exception), self._halting():  # raised here, Ray would take it for the trial's
            end = tell()
            if self._rule is not None:
                self._rule.end(number, complete=end.state == TrialState.COMPLETE)
                self._put_away()
        self._told.add(number)
        if cause:
            self._count_failure(cause)

    def _count_failure(self, cause: str) -> None:
        self.failed += 1
        spec = self.opened.spec
        if self.failed > spec.max_failed * spec.trials:
            self.halt = self.halt or (
                f"{self.failed} of {counted(spec.trials, 'trial')} failed, more than the share that max_failed allows, "
                f"{spec.max_failed:g}; the last: {cause}"
            )

    def _id(self, number: int) -> int:
        if number not in self.ids:
            self.ids[number] = id_of(self.opened.study, number)
        return self.ids[number]


def _lost(trial: Any) -> str:
    """The cause of an error that the trial could not report itself: its process is gone."""
    path = trial.pickled_error_file
    if not path or not Path(path).is_file():
        return "lost: the worker's process ended"
    error = cloudpickle.loads(Path(path).read_bytes())
    lines = [line for line in str(error).splitlines() if line.strip()]
    return printable(f"lost: {type(error).__name__}: {lines[-1] if lines else ''}")
