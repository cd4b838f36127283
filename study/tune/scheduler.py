"""ASHA on optimiser steps, whose rungs are filled from the stored reports when a run goes on.

A scheduler of Ray Tune by our own rule, see `study.spec.halving`: Ray's keeps its rungs in memory only, under ids that
change with every start. The refilled cut-offs are those of an undisturbed run.
"""

from __future__ import annotations

import math
from typing import Any

from optuna.trial import FrozenTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from study.record.trials import reports
from study.spec import StudySpec
from study.spec.halving import Stopping


class Asha(FIFOScheduler):
    """Stops trials at the rungs of a study.

    Args:
        spec: of a study with ASHA.
    """

    def __init__(self, spec: StudySpec):
        assert spec.asha is not None
        super().__init__()
        self.objective = spec.objectives[0]
        self._halving = Stopping(spec.rungs, spec.asha.reduction)

    @property
    def rungs(self) -> list[tuple[int, dict[int, float]]]:
        """(steps, {number of the trial: value}), the highest first."""
        return self._halving.rungs

    def cutoffs(self) -> dict[int, float | None]:
        """The value that a trial must reach at each rung to go on; None before the first trial got there."""
        return self._halving.cutoffs()

    def refill(self, trial: FrozenTrial) -> None:
        """Records a stored trial, as the live run did.

        What a trial that goes on repeats is not judged again: the decision was stored with the report.
        """
        for steps, report in reports(trial).items():
            value = report[self.objective]
            self._halving.goes_on(trial.number, steps, math.nan if value is None else value)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict) -> str:
        return TrialScheduler.CONTINUE if self._goes_on(trial, result) else TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict) -> None:
        self._goes_on(trial, result)

    def _goes_on(self, trial: Any, result: dict) -> bool:
        return self._halving.goes_on(trial.config["number"], result["steps"], result[self.objective])
