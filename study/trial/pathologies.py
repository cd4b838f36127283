"""The pathologies of a trial, read off its reports.

A report is judged by its model's symptoms, see `models.pathologies`, once every warm-up and ramp is over. A trial has a
pathology while its last two reports are both judged and both beyond a bound of it: a first report proves nothing, and
what recovers has none. All of it follows from the reports as they are stored: a run that goes on finds the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from study.spec.measures import PATHOLOGIES

if TYPE_CHECKING:
    from collections.abc import Collection

    from models.base import VAE

REPORTS = 2  # that must agree


class Verdict(NamedTuple):
    """What the reports of a trial say of a pathology."""

    violation: float  # above 0 where the trial has it, 1 at the worst; 0 while it cannot be told
    evidence: str  # what was measured, when, and against which bound; empty where the trial does not have it


def judged(
    model: VAE, measured: Mapping[str, float], step: int, watched: Collection[str] | None
) -> dict[str, dict[str, Any] | None]:
    """What a report keeps of each pathology: `excess`, of the symptom that is furthest beyond its bound, or nearest to
    it, and `evidence` for all that are beyond, in words; None before warm-ups are over, and where nothing is finite.

    Args:
        model: in training.
        measured: of the report, by name.
        step: of the report.
        watched: names of pathologies; None is all that the model can have.
    """
    settled, found = step >= model.settled * model.budget, dict[str, dict[str, Any] | None]()
    for symptom in model.symptoms():
        if watched is not None and symptom.pathology not in watched:
            continue
        value = measured.get(symptom.measure, math.nan)  # which an older report has under another name
        before = found.setdefault(symptom.pathology, None)
        if settled and math.isfinite(value):
            excess, said = symptom.excess(value), [before["evidence"]] if before and before["evidence"] else []
            said += [symptom.evidence(value)] if excess > 0 else []
            worst = max(excess, before["excess"]) if before else excess
            found[symptom.pathology] = {"excess": worst, "evidence": " and ".join(said)}
    return found


def doubts(model: VAE, measured: Mapping[str, float], step: int) -> str:
    """What a single report holds against a training, in words; empty where it holds nothing."""
    found = judged(model, measured, step, None)
    return "; ".join(f"{name}: {one['evidence']}" for name, one in found.items() if one and one["evidence"])


def verdicts(reports: Mapping[int, Mapping[str, Any]]) -> dict[str, Verdict]:
    """The verdict on each pathology that the trial is watched for.

    Args:
        reports: steps -> what was reported, ascending; only the last two are read.
    """
    last = [(steps, report.get(PATHOLOGIES) or {}) for steps, report in list(reports.items())[-REPORTS:]]
    return {name: _verdict([(steps, kept.get(name)) for steps, kept in last]) for name in (last[-1][1] if last else ())}


def _verdict(kept: list[tuple[int, Mapping[str, Any] | None]]) -> Verdict:
    known = [(steps, one) for steps, one in kept if one is not None]
    if len(known) < REPORTS:
        return Verdict(0.0, "")
    violation = min(one["excess"] for _, one in known)
    said = (f"at step {steps} {one['evidence']}" for steps, one in known)
    return Verdict(violation, ", ".join(said) if violation > 0 else "")
