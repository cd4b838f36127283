"""What confirmation found: a result for each configuration and seed, in the folder of that training.

A result says how the training ended, and lists what was measured of its best checkpoint. Each value carries its kind,
the version of its measure, and the settings of `confirm` that it depends on. Values of other settings stay, so that
only what is missing is ever computed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from models.measures import Measure
from study.record.folder import Run
from study.spec import StudySpec
from study.spec.measures import BESIDE, MEASURES, RENAMED, SCORES, SETTINGS, column, possible, versions_said
from study.spec.measures import measure as measure_of
from study.spec.text import counted
from study.trial.files import write_whole

RESULT = "result.json"
LATENTS = "latents"
DEFAULTS = "defaults"  # the paper's own configuration, the only one of a run without a search
EARLIER = {*BESIDE, "valid_elbo", "samples", "images", "budget", "halt"}  # no measures in what earlier releases wrote
AMONG = "among"  # whose settings say with which seeds' models one was compared


class Value(NamedTuple):
    """A number that was measured of a trained model."""

    measure: str
    value: float
    kind: str
    version: int
    settings: dict[str, Any]  # of `confirm`, as far as the value depends on them

    @property
    def key(self) -> tuple[str, int, str]:
        """What it is a value of, besides the configuration and its seed."""
        return self.measure, self.version, json.dumps(self.settings, sort_keys=True)


OWN = Value._fields[:-1]


class Result(NamedTuple):
    """How a training ended, and what was measured of its best checkpoint."""

    cause: str  # why it failed; else empty
    steps: int
    budget: int | None = None  # steps that were asked for; earlier releases did not say
    seconds: float = math.nan
    cpu_seconds: float = math.nan
    valid_elbo: float = math.nan
    values: tuple[Value, ...] = ()
    latents: dict[str, list[float]] | None = (
        None  # what each latent does, Z numbers by name; earlier releases did not say
    )
    fused: bool = False  # whether it was trained with other seeds as one program

    def having(self, values: Iterable[Value]) -> Result:
        """With more values, which take the place of those of the same key."""
        return self._replace(values=tuple({value.key: value for value in (*self.values, *values)}.values()))


def result(run: Run, configuration: str, repeat: int) -> Result | None:
    """What was found for a configuration on one seed; None where nothing was yet, or it cannot be read."""
    return read(run.confirmation(configuration, repeat) / RESULT)


def keep(run: Run, configuration: str, repeat: int, found: Result) -> None:
    """Writes a result."""
    values = [{key: getattr(value, key) for key in OWN} | value.settings for value in found.values]
    text = json.dumps({**found._asdict(), "values": values}, indent=1)
    path = run.confirmation(configuration, repeat) / RESULT
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read(path: Path) -> Result | None:
    """A result; None where there is none, or something else is in its place."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found["cause"], str) or type(found["steps"]) is not int:
            return None
        if "values" not in found:
            return _of_earlier(found)
        own = {key: value for key, value in found.items() if key in Result._fields}
        return Result(**{**own, "values": tuple(map(_value, found["values"]))})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _value(said: dict[str, Any]) -> Value:
    own = {key: said.pop(key) for key in OWN}
    return Value(**own, settings=said)


def _of_earlier(found: Mapping[str, Any]) -> Result:
    """A result of an earlier release, which kept one value of each measure, and not its kind."""
    said = versions_said(found)
    values = []
    for key, value in found.items():
        if key in EARLIER or not isinstance(value, int | float) or found["cause"]:
            continue
        measure = measure_of(RENAMED.get(key, key))
        kind = "" if measure.kind in ("bound", "importance-weighted") else measure.kind  # which the study says
        settings = {name: found[name] for name in _keys(measure) if name in found}
        values.append(Value(measure.name, value, kind, said.get(key, 1), settings))
    times = {key: found[key] for key in ("budget", "seconds", "cpu_seconds", "valid_elbo") if key in found}
    return Result(found["cause"], found["steps"], **times, values=tuple(values))


def _keys(measure: Measure) -> list[str]:
    return [key for need in measure.needs for key in SETTINGS.get(need, ())]


def settings_of(measure: Measure, spec: StudySpec, among: Iterable[int] = ()) -> dict[str, Any]:
    """What a value depends on besides its configuration, seed, measure and version.

    Args:
        measure: of which it is one.
        spec: of the study.
        among: the seeds, counted from 0, whose models are compared where that is what is measured.
    """
    compared = {AMONG: list(among)} if "seeds" in measure.needs else {}
    return {**{key: getattr(spec.confirm, key) for key in _keys(measure)}, **compared}


def wanted(spec: StudySpec, own: Iterable[Measure] = ()) -> list[Measure]:
    """What is to be measured of each model, its objectives in any case; which labels there are, only the data knows.

    Args:
        spec: of the study.
        own: the model's own measures.
    """
    scores = {measure.name: score.name for score in SCORES for measure in score.all}
    return [
        measure
        for measure in (*MEASURES, *own)
        if measure.name in spec.objectives
        or (scores[measure.name] in spec.scores if measure.name in scores else possible(measure, ("labels",)))
    ]


def lacking(found: Result, measures: Iterable[Measure], spec: StudySpec, among: Iterable[int] = ()) -> list[Measure]:
    """Those measures of which a result has no value of today's version and of the specification's settings."""
    there = {value.key for value in found.values}
    return [m for m in measures if Value(m.name, 0.0, "", m.version, settings_of(m, spec, among)).key not in there]


def in_columns(found: Result, spec: StudySpec, among: Iterable[int] = ()) -> dict[str, float]:
    """The values of the specification's settings by the names of their columns, earlier versions beside today's."""
    return {
        column(value.measure, value.version): value.value
        for value in found.values
        if value.settings == settings_of(measure_of(value.measure), spec, among)
    }


def is_trained(found: Result | None, spec: StudySpec) -> bool:
    """Whether a training ended at the specification's budget, or failed by itself: not by the machine."""
    return found is not None and found.budget == spec.steps and not found.cause.startswith(("lost", "disk"))


class Seeds(NamedTuple):
    """The seeds of a configuration, by how they ended, counted from 0."""

    sound: list[int]
    failed: list[int]


def seeds(run: Run, spec: StudySpec, configuration: str = DEFAULTS) -> Seeds:
    """Which seeds of a configuration, that of a run without a search if not told otherwise, ended at the budget."""
    found = {repeat: result(run, configuration, repeat) for repeat in range(spec.confirm.seeds)}
    ended = {repeat: one.cause for repeat, one in found.items() if one is not None and one.budget == spec.steps}
    return Seeds([r for r, cause in ended.items() if not cause], [r for r, cause in ended.items() if cause])


def standing(run: Run, spec: StudySpec) -> str:
    """Where a run without a search stands."""
    sound, failed = seeds(run, spec)
    ended = f"no search; {len(sound)} of {counted(spec.confirm.seeds, 'seed')}"
    return f"{ended}, {len(failed)} failed" if failed else ended
