"""The searcher hands out trials and writes nothing: first the unfinished ones, under their own numbers, then new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from ray.tune.search import Searcher

import imagesets
from study.record.folder import Run
from study.spec import StudySpec


class HandOut(Searcher):
    """Draws configurations from an Optuna study for Ray Tune.

    Args:
        study: opened by this process.
        spec: its specification.
        run: its folder.
        data: the root of the data sets, or None for the default; the workers, in another working folder and maybe
            another environment, are given the whole path.
        unfinished: trials that an earlier process left running, in the order to go on with.
    """

    def __init__(
        self,
        study: optuna.Study,
        spec: StudySpec,
        run: Run,
        data: str | None,
        unfinished: Sequence[optuna.trial.FrozenTrial],
    ):
        super().__init__(metric=spec.objectives[0], mode="max")
        self.study, self.spec, self.run, self.data = study, spec, run, str(imagesets.data_root(data))
        self.unfinished = list(unfinished)

    def suggest(self, trial_id: str) -> dict[str, Any]:
        if self.unfinished:
            # What was drawn before comes back from the storage, what was not is drawn now.
            trial = optuna.trial.Trial(self.study, self.unfinished.pop(0)._trial_id)
        else:
            trial = self.study.ask()
        return {
            "number": trial.number,
            "run": str(self.run.path),
            "data": self.data,
            "spec": self.spec,
            "settings": self.spec.space(trial),
        }

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Nothing: the ledger tells the study."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what the searcher knows is in the study."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, likewise."""

    def __getstate__(self) -> dict[str, Any]:
        return {}
