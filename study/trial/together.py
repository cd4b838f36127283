"""Trials of one configuration over several seeds that train as one program, and report each for itself."""

from __future__ import annotations

from collections.abc import Sequence

from study.trial.fused import Fused
from study.trial.trial import Stopwatch, Trained, Trial


def train_together(trials: Sequence[Trial]) -> dict[Trial, Exception]:
    """Trains trials to the end of their budget: fused where their model can be, else one by one.

    Those that are behind, as a kill may leave them, go on alone first, to where the others stand.

    Args:
        trials: of one configuration, on other seeds.

    Returns:
        Of each that failed its error; the others go on.

    Raises:
        Exception: it is no single trial's. All of them are to go on from their checkpoints.
    """
    failed: dict[Trial, Exception] = {}
    furthest = max((trial.training.step for trial in trials if trial.training.step < trial.spec.steps), default=0)
    for trial in trials:
        _report(trial, failed, until=furthest)
    left = _left(trials, failed)
    clock = Stopwatch()
    if len(left) > 1 and not _obstacle(left):
        while len(left := _left(left, failed)) > 1:
            outcomes = Fused([trial.training for trial in left]).advance(left[0].due)
            seconds, cpu_seconds = (spent / len(left) for spent in clock.spent())
            for trial, losses in zip(left, outcomes):
                _report_once(trial, failed, Trained(losses, seconds, cpu_seconds))
            clock = Stopwatch()
    for trial in left:
        _report(trial, failed, until=trial.spec.steps)
    return failed


def _left(trials: Sequence[Trial], failed: dict[Trial, Exception]) -> list[Trial]:
    return [trial for trial in trials if trial not in failed and not trial.done]


def _obstacle(trials: Sequence[Trial]) -> str:
    """Why they are not fused, which stands in their logs; empty where they are."""
    why = Fused([trial.training for trial in trials]).obstacle()
    for trial in trials:
        how = ", which are not compiled" if trial.spec.compiled else ""
        trial.note(f"trains alone: {why}" if why else f"trains as one of {len(trials)} seeds{how}")
    return why


def _report(trial: Trial, failed: dict[Trial, Exception], until: int) -> None:
    """Trains one alone to a step, the report of its checkpoint handed out."""
    while trial not in failed and not trial.done and (trial.training.step < until or not trial.due):
        _report_once(trial, failed)


def _report_once(trial: Trial, failed: dict[Trial, Exception], trained: Trained | None = None) -> None:
    try:
        trial.report(trained)
    except Exception as error:
        failed[trial] = error
