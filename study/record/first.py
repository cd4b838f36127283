"""The first trial of a search: the model's defaults, which all others must beat, where the specification says so."""

from __future__ import annotations

from typing import Any

from study.record.folder import OpenRun
from study.spec import StudySpec

ORIGIN = "origin"  # an attribute of a trial that the sampler did not draw
DEFAULTS, NEAREST = "defaults", "nearest"


def enqueue(opened: OpenRun) -> None:
    """Puts the defaults before all other trials, unless the study has begun; for who holds the run.

    It is a single write, and what is drawn of it comes from the storage: it survives a death at any moment.
    """
    _, spec, study = opened
    if spec.first == DEFAULTS and not study.get_trials(deepcopy=False):
        study.enqueue_trial(spec.default_draws(within=True), {ORIGIN: NEAREST if outside(spec) else DEFAULTS})


def outside(spec: StudySpec) -> dict[str, tuple[Any, Any]]:
    """What the first trial has in the place of a default that cannot be drawn: name -> that, and the default."""
    usual = spec.defaults()
    taken = spec.default_draws(within=True)
    return {name: (value, usual[name]) for name, value in taken.items() if value != usual.get(name, value)}
