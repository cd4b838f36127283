"""What a person sees of a running study: a line for every trial that ends, and where things stand."""

from __future__ import annotations

import time
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from ray import tune

from study.spec import StudySpec
from study.storage import best_trial, reports


class Lines(tune.Callback):
    """A plain line a finished trial. It reads the study, so it must come after the ledger.

    Args:
        study: that the ledger writes.
        spec: its specification.
    """

    def __init__(self, study: optuna.Study, spec: StudySpec):
        self.study, self.spec, self.started = study, spec, time.perf_counter()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._print(trial.config["number"])

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._print(trial.config["number"])

    def _print(self, number: int) -> None:
        stored = self.study.get_trials(deepcopy=False)
        done = sum(trial.state.is_finished() for trial in stored)
        elapsed = time.perf_counter() - self.started
        print(f"[{elapsed:6.1f} s] {describe(stored[number], self.spec)}   ({done} of {self.spec.trials})", flush=True)


def describe(trial: FrozenTrial, spec: StudySpec) -> str:
    """One trial in a line: number, state, steps, and its objectives or the cause of its failure."""
    made = reports(trial)
    steps = max(made, default=0)
    ended = f"trial {trial.number:<4d} {trial.state.name.lower():<9s} at step {steps:>6d}"
    if trial.state == TrialState.FAIL:
        return f"{ended}   {trial.user_attrs.get('cause', '')}"
    if not made:
        return ended
    return f"{ended}   " + "   ".join(f"{metric} {_number(made[steps].get(metric))}" for metric in spec.objectives)


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}" if abs(value) < 10 else f"{value:.2f}"


def summary(study: optuna.Study, spec: StudySpec) -> str:
    """Where a study stands, in a few lines."""
    stored = study.get_trials(deepcopy=False)
    counts = {state: sum(trial.state == state for trial in stored) for state in TrialState}
    line = (
        f"{spec.name}: {counts[TrialState.COMPLETE]} complete, {counts[TrialState.PRUNED]} pruned, "
        f"{counts[TrialState.FAIL]} failed, {counts[TrialState.RUNNING]} running, of {spec.trials}"
    )
    best = best_trial(study)
    if best is None:
        return line
    return f"{line}\nbest: {describe(best, spec)}   {best.params}"
