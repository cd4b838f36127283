"""The ledger: the only writer of the Optuna study while a search goes on. A Ray Tune callback, because only a callback
sees every result, the one on which the scheduler stops too, and the errors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from ray import cloudpickle, tune

from study.spec import StudySpec
from study.storage import fail, finish, store_report


class Ledger(tune.Callback):
    """Writes what Ray Tune reports into the study.

    Args:
        study: opened by this process.
        spec: its specification.
    """

    def __init__(self, study: optuna.Study, spec: StudySpec):
        self.study, self.spec = study, spec
        self.ids: dict[int, int] = {}  # number -> the storage's id

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray pickles callbacks for a restore that is never used; the run goes on with the original

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        if not result["cause"]:
            store_report(self.study, self._id(trial.config["number"]), result)

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        finish(self.study, trial.config["number"], trial.last_result, self.spec.steps)

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        fail(self.study, trial.config["number"], _lost(trial))

    def _id(self, number: int) -> int:
        if number not in self.ids:
            storage, study_id = self.study._storage, self.study._study_id
            self.ids[number] = storage.get_trial_id_from_study_id_trial_number(study_id, number)
        return self.ids[number]


def _lost(trial: Any) -> str:
    """The cause of an error that the trial could not report itself: its process is gone."""
    path = trial.pickled_error_file
    if not path or not Path(path).is_file():
        return "lost: the worker's process ended"
    error = cloudpickle.loads(Path(path).read_bytes())
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"lost: {type(error).__name__}: {lines[-1] if lines else ''}"
