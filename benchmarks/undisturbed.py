"""What a trial's reports must be, whatever befell its study: those of a training that nothing interrupts."""

from __future__ import annotations

import math

from optuna.trial import FrozenTrial

import imagesets
from study.record.trials import reports
from study.spec import StudySpec
from study.trial.seeds import derived_seed
from study.trial.training import Training


def curve(spec: StudySpec, trial: FrozenTrial) -> dict[int, dict[str, float | None]]:
    """Steps -> metrics of a training of the trial's configuration and seed, as far as the trial has reports.

    As they are stored, None where a number is not finite.
    """
    settings = {**spec.fixed, **trial.params}
    training = Training(spec, settings, imagesets.load(spec.dataset), seed=derived_seed(spec.seed, trial.number))
    found = {}
    for step in range(spec.report_every, max(reports(trial), default=0) + 1, spec.report_every):
        training.advance(spec.report_every)
        found[step] = {name: value if math.isfinite(value) else None for name, value in training.evaluate().items()}
    return found


def differences(spec: StudySpec, trial: FrozenTrial) -> list[str]:
    """How a trial of a single objective differs from an undisturbed one, a line each: gaps, numbers, logged losses."""
    made, expected = reports(trial), curve(spec, trial)
    name = f"trial {trial.number}"
    if list(made) != list(expected):
        return [f"{name} has reports at {list(made)}, not at {list(expected)}"]
    found = [
        f"{name} at step {step}: {metric} is {made[step][metric]}, not {value}"
        for step, metrics in expected.items()
        for metric, value in metrics.items()
        if made[step][metric] != value
    ]
    logged = [step for report in made.values() for step, _ in report["train"]]
    if logged != list(range(0, max(made, default=0), spec.budget.log_every)):
        found.append(f"{name} logged its training losses at {logged}")
    if trial.intermediate_values != {step: report["elbo"] for step, report in made.items()}:
        found.append(f"{name}: the intermediate values are not the reports'")
    return found
