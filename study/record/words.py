"""A study in words: one trial in a line, a run in a few. Knows nothing of Ray."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

from study.record.confirmation import standing
from study.record.folder import OpenRun
from study.record.trials import Outcome, best_trial, outcome, reports
from study.spec import StudySpec


def describe(trial: FrozenTrial, spec: StudySpec) -> str:
    """One trial in a line: number, state, steps, and its objectives or the cause of its failure."""
    made = reports(trial)
    steps = max(made, default=0)
    ended = f"trial {trial.number:<4d} {trial.state.name.lower():<9s} at step {steps:>6d}"
    if trial.state == TrialState.FAIL:
        return f"{ended}   {trial.user_attrs.get('cause', '')}"
    if not made:
        return ended
    return f"{ended}   " + "   ".join(f"{metric} {number_text(made[steps].get(metric))}" for metric in spec.objectives)


def number_text(value: float | None) -> str:
    """A metric in a line of text: two decimals, three for shares."""
    if value is None:
        return "not finite"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"


def summary(opened: OpenRun) -> str:
    """Where a study stands, in a few lines."""
    run, spec, study = opened
    if not spec.trials:
        return f"{spec.name}: {standing(run, spec)}"
    counts: Outcome = outcome(study)
    running = len(study.get_trials(deepcopy=False, states=[TrialState.RUNNING]))
    line = (
        f"{spec.name}: {counts.complete} complete, {counts.pruned} pruned, {counts.failed} failed, "
        f"{running} unfinished, of {spec.trials} trials"
    )
    best = best_trial(study)
    if best is None:
        return line
    drawn = ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in best.params.items()
    )
    return f"{line}\nbest: {describe(best, spec)}" + (f"\n      {drawn}" if drawn else "")
