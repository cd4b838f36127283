"""The ledger: the only writer of the Optuna study while a run goes on. A Ray Tune callback, because only a callback
sees every result, the one on which the scheduler stops too, and the errors.

PRUNED has all its reports, FAIL its cause, COMPLETE is at full budget only.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState
from ray import cloudpickle, tune

from study.evaluation import METRICS
from study.spec import StudySpec
from study.storage import REPORT

KEPT = (*METRICS, "seconds", "train")


class Ledger(tune.Callback):
    """Writes what Ray Tune reports into the study.

    Args:
        study: opened by this process.
        spec: its specification.
    """

    def __init__(self, study: optuna.Study, spec: StudySpec):
        self.study, self.spec = study, spec
        self.ids = {trial.number: trial._trial_id for trial in study.get_trials(deepcopy=False)}

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray pickles callbacks for a restore that is never used; the run goes on with the original

    def _id(self, trial: Any) -> int:
        number = trial.config["number"]
        if number not in self.ids:
            self.ids[number] = self.study._storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)
        return self.ids[number]

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        if result["cause"]:
            return
        storage, steps = self.study._storage, result["steps"]
        report = {key: result[key] for key in KEPT}
        storage.set_trial_user_attr(self._id(trial), f"{REPORT}{steps}", _finite(report))
        value = result[self.spec.objectives[0]]
        if len(self.spec.objectives) == 1 and math.isfinite(value):
            storage.set_trial_intermediate_value(self._id(trial), steps, value)

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        result = trial.last_result
        if result["cause"]:
            self._fail(trial, result["cause"])
        elif result["steps"] < self.spec.steps:
            self._tell(trial, TrialState.PRUNED)
        else:
            values = [result[metric] for metric in self.spec.objectives]
            if all(math.isfinite(value) for value in values):
                self._tell(trial, TrialState.COMPLETE, values)
            else:
                self._fail(trial, f"nan: {self.spec.objectives} were {values} at step {result['steps']}")

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._fail(trial, _lost(trial))

    def _fail(self, trial: Any, cause: str) -> None:
        self.study._storage.set_trial_user_attr(self._id(trial), "cause", cause)
        self._tell(trial, TrialState.FAIL)

    def _tell(self, trial: Any, state: TrialState, values: list[float] | None = None) -> None:
        self.study.tell(trial.config["number"], values, state=state)


def _finite(value: Any) -> Any:
    """JSON has no NaN: such numbers are stored as null."""
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lost(trial: Any) -> str:
    """The cause of an error that the trial could not report itself: its process is gone."""
    path = trial.pickled_error_file
    if not path or not Path(path).is_file():
        return "lost: the worker's process ended"
    error = cloudpickle.loads(Path(path).read_bytes())
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"lost: {type(error).__name__}: {lines[-1] if lines else ''}"
