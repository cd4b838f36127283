"""Checks a preset whole and words every mistake for people."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from study.spec import checks
from study.spec.checks.data import check_source
from study.spec.own import with_code
from study.spec.preprocessing import Preprocessing
from study.spec.preset import BASE, read
from study.spec.problems import SpecError, nearest
from study.spec.ranges import Range
from study.spec.specification import KEPT, Asha, Budget, Confirm, Resources, StudySpec, Validation
from study.spec.text import parse


def check(raw: Mapping[str, Any], kept: bool = False) -> list[str]:
    """Everything that is wrong with a specification as read from a file, a line each; empty if nothing is.

    Args:
        raw: what the file says.
        kept: it is that of a run, which was checked whole: a source of its data may be gone since, see also `KEPT`.
    """
    return _checked(raw, kept)[1]


def _checked(raw: Mapping[str, Any], kept: bool) -> tuple[StudySpec | None, list[str]]:
    """The specification, where there is one, and what is wrong with it."""
    raw, problems = with_code(raw), dict[str, str]()
    try:
        spec = StudySpec.model_validate({str(key): value for key, value in raw.items()}, context=KEPT if kept else None)
        return spec, [] if kept else check_source(spec)
    except ValidationError as error:
        told = (e for e in error.errors() if e["loc"] and e["type"] != "default_factory_not_called")
        for key, message in map(_worded, told):
            problems[key] = f"{problems[key]}, or: {message}" if key in problems else message  # members of a union
    sound: dict[str, Any] = {}
    for key, field in StudySpec.model_fields.items():
        if key in problems or (field.is_required() and key not in raw):
            continue
        value = raw.get(key, field.get_default(call_default_factory=True, validated_data=sound))
        if isinstance(value, Mapping):  # what is wrong in it is told already; the rest may be checked
            value = {k: v for k, v in value.items() if f"{key}.{k}" not in problems}
        annotation: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        config = None if isinstance(annotation, type) and issubclass(annotation, BaseModel) else ConfigDict(strict=True)
        with suppress(ValidationError):  # the rest is not whole
            sound[key] = TypeAdapter(annotation, config=config).validate_python(value)
    partial = StudySpec.model_construct(**sound)
    for key in StudySpec.model_fields.keys() - sound.keys():
        partial.__dict__.pop(key, None)  # a default that was not asked for
    if "code" in problems:
        problems.pop("model", None)  # which is known by it
    lines = [f"{key}: {message}" for key, message in problems.items()]
    if not kept and sound.keys() >= {"dataset", "dataset_options"}:
        lines += check_source(partial)
    further = checks.of(kept, building=not problems)  # of a key that is misspelt one is told at once
    return None, lines + [line for needs, problem in further if sound.keys() >= set(needs) for line in problem(partial)]


def _worded(error: Any) -> tuple[str, str]:
    """(key, message) of one of pydantic's errors."""
    location = [str(part) for part in error["loc"] if part != "[key]"]
    if location[0] in ("objective", "sigma"):  # the member of a union says nothing to a reader
        location = location[:1]
    if location[:2] == ["resources", "gpus"]:
        location = location[:2]
    key, message = ".".join(location), str(error["msg"])
    if error["type"] == "extra_forbidden":
        known = _keys_beside(location)
        return key, f"there is no such key; there are: {', '.join(known)}{nearest(location[-1], known)}"
    if error["type"] == "missing":
        return key, "is needed and not given"
    if error["type"] in ("model_type", "dict_type"):
        return key, f"must be a group of keys, got {error['input']!r}"
    message = re.sub(r"^(Value error, |Assertion failed, )", "", message)
    message = message[:1].lower() + message[1:]
    return key, message if error["type"] == "value_error" else f"{message}, got {error['input']!r}"


def _keys_beside(location: Sequence[str]) -> list[str]:
    groups: dict[str, type[BaseModel]] = {
        "asha": Asha,
        "budget": Budget,
        "confirm": Confirm,
        "preprocessing": Preprocessing,
        "resources": Resources,
        "validation": Validation,
    }
    part: type[BaseModel] = Range if location[0] == "space" else StudySpec
    for key in location[:-1]:
        part = groups.get(key, part)
    return [*part.model_fields, *([BASE] if part is StudySpec else [])]


def load(preset: str | Path, overrides: Sequence[str] = (), kept: bool = False) -> StudySpec:
    """Reads and checks a preset.

    Args:
        preset: a name in study/presets, or the path of a YAML file.
        overrides: "key=value" each, as in "budget.steps=500"; the value is read as YAML.
        kept: it is the specification of a run, see `check`.

    Raises:
        SpecError: the file cannot be read, or something in it is wrong; all mistakes are named.
    """
    source, raw = read(preset)
    malformed = [problem for override in overrides if (problem := _apply(raw, override))]
    spec, problems = _checked(raw, kept)
    if spec is None or malformed or problems:
        raise SpecError(source, malformed + problems)
    return spec


def options(given: Sequence[str]) -> dict[str, Any]:
    """What "key=value" strings say, each value read as YAML.

    Raises:
        SpecError: one of them is not that.
    """
    found: dict[str, Any] = {}
    problems = [problem for pair in given if (problem := _apply(found, pair, "--option"))]
    if problems:
        raise SpecError("options", problems)
    return found


def _apply(raw: dict[str, Any], override: str, flag: str = "--set") -> str | None:
    """Sets one "key=value" in the raw specification, or says what is wrong with it."""
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        example = "budget.steps=500" if flag == "--set" else "path=digits.npz"
        return f"{flag} {override!r}: must be key=value, for example {flag} {example}"
    try:
        value = parse(text)
    except (yaml.YAMLError, ValueError):
        return f"{flag} {override!r}: the value is not YAML"
    if parts[0] == BASE and flag == "--set":
        return f"{flag} {override!r}: a base is named in a file; give that preset in this one's place"
    target = raw
    for part in parts[:-1]:
        if target.get(part) is None:
            target[part] = {}
        if not isinstance(target[part], dict):
            return f"{flag} {override!r}: {part} is not a group of keys"
        target = target[part]
    target[parts[-1]] = value
    return None
