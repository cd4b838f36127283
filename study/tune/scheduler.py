"""ASHA on optimiser steps, whose rungs are filled from the stored reports when a run goes on.

A scheduler of Ray Tune by our own rule, see `study.spec.halving`: Ray's keeps its rungs in memory only, under ids that
change with every start. The refilled cut-offs are those of an undisturbed run. A trial that pauses is stopped, too, and
handed out again: Ray's own pause writes and reads a checkpoint of Ray's, and keeps a search from its end.
"""

from __future__ import annotations

from typing import Any

from optuna.trial import FrozenTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from study.record.pauses import fill
from study.spec import StudySpec
from study.spec.halving import Stopping


class Asha(FIFOScheduler):
    """Stops trials at the rungs of a study.

    Args:
        spec: of a study with ASHA.

    Attributes:
        rule: which decides.
    """

    def __init__(self, spec: StudySpec):
        super().__init__()
        self.objective = spec.objectives[0]
        self.rule = spec.rule()

    @property
    def rungs(self) -> list[tuple[int, dict[int, float]]]:
        """(steps, {number of the trial: value}), the highest first."""
        return self.rule.rungs

    def cutoffs(self) -> dict[int, float | None]:
        """The value that a trial must reach at each rung to go on; None before the first trial got there."""
        assert isinstance(self.rule, Stopping)
        return self.rule.cutoffs()

    def refill(self, trial: FrozenTrial) -> None:
        """Records a stored trial, as the live run did.

        What a trial that goes on repeats is not judged again: the decision was stored with the report.
        """
        fill(self.rule, trial, self.objective)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict) -> str:
        return TrialScheduler.CONTINUE if self._goes_on(trial, result) else TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict) -> None:
        self._goes_on(trial, result)

    def _goes_on(self, trial: Any, result: dict) -> bool:
        return self.rule.goes_on(trial.config["number"], result["steps"], result[self.objective])
