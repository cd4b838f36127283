"""More trials for a run: what may change under an old name, and what may not."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from study import spec as specs
from study.record.folder import Run, RunError, find
from study.spec import SpecError, StudySpec

FREE = ("trials", "resources", "confirm", "max_failed", "storage")
"""Keys that may change, because no number of a trial depends on them; the storage stays where it was."""


def extended(given: str, overrides: list[str], more: str, root: str | Path) -> tuple[Run, StudySpec]:
    """A run and its specification with more trials.

    Args:
        given: a preset, whose name the run has, or the run's own name or folder.
        overrides: "key=value" each.
        more: how many, as in "+200".
        root: where named runs lie.

    Raises:
        SpecError: `more` is no number, or the specification is not sound.
        RunError: there is no such run, it has no search, or the specification differs from the run's in what its
            numbers depend on.
    """
    if not more[1:].isdigit() or not int(more):
        raise SpecError("--trials", [f"must be a number, or + and how many more, such as +200, got {more!r}"])
    if given in specs.presets() or os.path.isfile(os.path.expanduser(given)):
        wanted = specs.load(given, overrides)
        run = find(wanted.name, root)
        own = run.spec()
    else:
        run = find(given, root)
        own = run.spec()
        wanted = specs.load(run.study_yaml, overrides)
    if not own.trials:
        raise RunError(f"{run.name} has no search to add trials to; `seeds` with more --seeds adds seeds")
    changed = differences(own, wanted)
    if changed:
        raise RunError(
            f"{run.name} cannot go on as another study: {'; '.join(changed)}. Repeat the --set that it was started "
            f"with, name the run's folder in the preset's place, or start another run with --set name=..."
        )
    trials = own.trials + int(more)
    return run, wanted.model_copy(update={"trials": trials, "storage": own.storage})


def confirmed_otherwise(run: Run, overrides: Sequence[str]) -> StudySpec | None:
    """The specification of a run with other settings of its confirmation; None where none are given.

    Raises:
        SpecError: another key is given, or the specification is not sound.
    """
    keys = [override.partition("=")[0].strip() for override in overrides]
    if wrong := [key for key in keys if not key.startswith("confirm.")]:
        raise SpecError("--set", [f"{key}: only what is below `confirm` can be set here" for key in wrong])
    return specs.load(run.study_yaml, overrides) if overrides else None


def differences(own: StudySpec, wanted: StudySpec, free: Mapping[str, Any] = dict.fromkeys(FREE, True)) -> list[str]:
    """What differs between two specifications besides what is free, as "key was ..., is ...".

    Of a model of one's own the key tells, which its code changes with.
    """
    before, now = (_flat(spec.model_dump(exclude={**free, "code": True})) for spec in (own, wanted))
    return [
        f"{key} was {before.get(key, 'not given')}, is {now.get(key, 'not given')}"
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key)
    ]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
