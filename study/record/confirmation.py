"""What confirmation found: a result for each configuration and seed, in the folder of that training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from study.record.folder import Run
from study.spec import StudySpec
from study.spec.measures import current
from study.spec.text import counted

RESULT = "result.json"
LATENTS = "latents"  # in a result: what each latent does, lists of Z numbers by name
DEFAULTS = "defaults"  # the paper's own configuration, the only one of a run without a search


def result(run: Run, configuration: str, repeat: int) -> dict[str, Any] | None:
    """What was found for a configuration on one seed; None where nothing was yet, or it cannot be read."""
    return read(run.confirmation(configuration, repeat) / RESULT)


def read(path: Path) -> dict[str, Any] | None:
    """A result; None where there is none, or something else is in its place."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    sound = isinstance(found, dict) and isinstance(found.get("cause"), str) and isinstance(found.get("steps"), int)
    return current(found) if sound else None


def made_with(spec: StudySpec) -> dict[str, int]:
    """What a result depends on besides its configuration and seed: kept in it."""
    return {"samples": spec.confirm.samples, "images": spec.confirm.images, "budget": spec.steps}


def is_as_wanted(found: dict[str, Any], spec: StudySpec) -> bool:
    """Whether a result was made with the specification's settings; of one that does not say, nobody knows."""
    return all(found.get(key) == value for key, value in made_with(spec).items())


class Seeds(NamedTuple):
    """The seeds of a run without a search, by how they ended, counted from 0."""

    sound: list[int]
    failed: list[int]


def seeds(run: Run, spec: StudySpec) -> Seeds:
    """Which seeds of a run without a search have a result as the specification wants it."""
    found = {repeat: result(run, DEFAULTS, repeat) for repeat in range(spec.confirm.seeds)}
    ended = {repeat: one["cause"] for repeat, one in found.items() if one is not None and is_as_wanted(one, spec)}
    return Seeds([r for r, cause in ended.items() if not cause], [r for r, cause in ended.items() if cause])


def standing(run: Run, spec: StudySpec) -> str:
    """Where a run without a search stands."""
    sound, failed = seeds(run, spec)
    ended = f"no search; {len(sound)} of {counted(spec.confirm.seeds, 'seed')}"
    return f"{ended}, {len(failed)} failed" if failed else ended
