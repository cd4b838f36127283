"""Whose turn it is where trials pause: who is promoted, then who is new, and in the end who is to finish."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from ray.tune.search import Searcher

from study.record.backend import together
from study.record.folder import OpenRun
from study.spec import StudySpec
from study.spec.halving import Rule
from study.spec.room import Has
from study.tune.ledger import Ledger
from study.tune.machines import alive, has
from study.tune.searcher import HandOut
from study.tune.start import MARK


class InTurn(HandOut):
    """Hands out a trial once there is room for it: Ray asks for one ahead, when it is not known yet who will be next.

    A trial that goes on is handed out again, under its own number; it finds its checkpoint.

    Args:
        opened, data, unfinished, takes: as for HandOut.
        rule: by which ASHA decides, filled from the study.
        ledger: notes who was handed out.
        room: how many trials can be at work at once.
    """

    def __init__(
        self,
        opened: OpenRun,
        data: str | None,
        unfinished: Sequence[optuna.trial.FrozenTrial],
        rule: Rule,
        ledger: Ledger,
        room: Callable[[], int],
        takes: Callable[[], bool] = lambda: True,
    ):
        super().__init__(opened, data, unfinished, takes)
        self.rule, self.ledger, self.room = rule, ledger, room
        self._drawn = len(opened.study.get_trials(deepcopy=False)) - self._waiting
        self._at_work: dict[str, int] = {}  # Ray's id -> number

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """A trial's configuration; None while it cannot be told who is next, FINISHED when nobody is."""
        if len(self._at_work) >= self.room():
            return None
        if not self.unfinished and not self.takes():
            return None if self._at_work else Searcher.FINISHED
        trial = self._next()
        if trial is None:
            return None if self._at_work else Searcher.FINISHED
        self._at_work[trial_id] = trial.number
        with together(self.opened.study):
            return self.configured(trial)

    def _next(self) -> optuna.trial.Trial | None:
        study = self.opened.study
        if self.unfinished:
            return optuna.trial.Trial(study, self.unfinished.pop(0)._trial_id)
        if (number := self.rule.promoted()) is not None:
            return optuna.trial.Trial(study, self.ledger.hand_out(number))
        if self._drawn < self.opened.spec.trials:
            self._drawn += 1
            trial = self._new()
            self.ledger.hand_out(trial.number)
            return trial
        if self.ledger.left or not self.rule.whole.issuperset(self._at_work.values()):
            return None  # who may become complete yet, or pause among the best
        if (number := self.rule.finishing()) is not None:
            return optuna.trial.Trial(study, self.ledger.hand_out(number, whole=True))
        return None

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        self._at_work.pop(trial_id, None)


class Room:
    """How many trials the machines take at once, one at least; they are looked at once a second.

    On a cluster one more: for the trial that waits, it may grow.
    """

    EVERY = 1.0

    def __init__(self, spec: StudySpec):
        self.spec, self._looked, self._found = spec, -self.EVERY, 1

    def __call__(self) -> int:
        if time.monotonic() - self._looked >= self.EVERY:
            self._looked = time.monotonic()
            nodes = alive()
            fit = sum(fitting(self.spec, has(node)) for node in nodes)
            own = any(MARK.items() <= node["Labels"].items() for node in nodes)
            self._found = max(1, fit) if own else fit + 1
        return self._found


def fitting(spec: StudySpec, there: Has) -> int:
    """How many trials a machine takes at once; of a share of a GPU, as many as one GPU has."""
    wanted = spec.resources
    on_cpus = int(there.cpus // wanted.cpus)
    if not (gpus := wanted.least_gpus):
        return on_cpus
    shares = int(1 / gpus + 1e-9) * there.gpus if gpus < 1 else there.gpus // gpus
    return min(on_cpus, int(shares))
