"""ASHA on optimiser steps, whose rungs are filled from the stored reports when a run goes on.

Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020). Ray keeps the rungs in memory only,
under ids that change with every start; the refilled cut-offs are those of an undisturbed run.
"""

from __future__ import annotations

import math
from typing import Any

from optuna.trial import FrozenTrial
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from study.record.trials import reports
from study.spec import StudySpec


class Asha(AsyncHyperBandScheduler):
    """Ray's scheduler, with a memory; values that are not finite stay out of its rungs.

    Args:
        spec: of a study with ASHA.
    """

    def __init__(self, spec: StudySpec):
        assert spec.asha is not None
        super().__init__(
            time_attr="steps",
            metric=spec.objectives[0],
            mode="max",
            max_t=spec.steps,
            grace_period=spec.rungs[0],
            reduction_factor=spec.asha.reduction,
        )
        self.objective = spec.objectives[0]

    @property
    def _bracket(self) -> Any:
        """The only one; what it holds is private to Ray, whose release is pinned."""
        return self._brackets[0]

    @property
    def rungs(self) -> list[tuple[int, dict[Any, float]]]:
        """(steps, {trial: value}), the highest first; Ray's own."""
        return self._bracket._rungs

    def cutoffs(self) -> dict[int, float | None]:
        """The value that a trial must reach at each rung to go on; None before the first trial got there."""
        return {steps: self._bracket.cutoff(recorded) for steps, recorded in self.rungs}

    def refill(self, trial: FrozenTrial) -> None:
        """Records a stored trial under its number, as the live run did.

        What a trial that goes on repeats is not judged again: the decision was stored with the report.
        """
        for steps, report in reports(trial).items():
            value = report[self.objective]
            if value is None:
                continue
            for milestone, recorded in self.rungs:
                if steps >= milestone and trial.number not in recorded:
                    recorded[trial.number] = value
                    break

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_add(tune_controller, trial)
        number = trial.config["number"]
        for _, recorded in self.rungs:
            if number in recorded:
                recorded[trial.trial_id] = recorded.pop(number)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict) -> str:
        if not math.isfinite(result[self.objective]):
            return TrialScheduler.CONTINUE
        return super().on_trial_result(tune_controller, trial, result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict) -> None:
        if math.isfinite(result[self.objective]):
            super().on_trial_complete(tune_controller, trial, result)
