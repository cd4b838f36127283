"""The searcher hands out trials and writes nothing: first the unfinished ones, under their own numbers, then new."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optuna
from ray.tune.search import Searcher

import imagesets
from study.record.backend import together
from study.record.folder import OpenRun
from study.record.trials import new_trial


class HandOut(Searcher):
    """Draws configurations from an Optuna study for Ray Tune.

    Args:
        opened: the run, held by this process.
        data: the root of the data sets, or None for the default; the workers, in another working folder and maybe
            another environment, are given the whole path.
        unfinished: trials that an earlier process left running, in the order to go on with.
        takes: whether a new trial may begin; once none may, the search ends with those that have begun.
    """

    def __init__(
        self,
        opened: OpenRun,
        data: str | None,
        unfinished: Sequence[optuna.trial.FrozenTrial],
        takes: Callable[[], bool] = lambda: True,
    ):
        super().__init__(metric=opened.spec.objectives[0], mode="max")
        self.opened, self.data = opened, str(imagesets.data_root(data))
        self.unfinished, self.takes = list(unfinished), takes
        # That are enqueued; while the run is held nobody adds any.
        self._waiting = len(opened.study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.WAITING]))

    def suggest(self, trial_id: str) -> dict[str, Any]:
        study = self.opened.study
        if not self.unfinished and not self.takes():
            return Searcher.FINISHED  # type: ignore[return-value]  # a text, which Ray's own annotation leaves out
        before = self.unfinished.pop(0) if self.unfinished else None
        with together(study):
            return self.configured(self._new() if before is None else optuna.trial.Trial(study, before._trial_id))

    def configured(self, trial: optuna.trial.Trial) -> dict[str, Any]:
        """What a trial is handed out with. Of one that was handed out before, what was drawn comes back from the
        storage, and what was not is drawn now.
        """
        run, spec, _ = self.opened
        settings = spec.draw(trial)
        where = {"run": str(run.path), "mark": run.marked(), "data": self.data}
        return {"number": trial.number, **where, "spec": spec, "settings": settings}

    def _new(self) -> optuna.trial.Trial:
        if not self._waiting:
            return new_trial(self.opened.study)
        self._waiting -= 1
        return self.opened.study.ask()

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Nothing: the ledger tells the study."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what the searcher knows is in the study."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, likewise."""

    def __getstate__(self) -> dict[str, Any]:
        return {}
