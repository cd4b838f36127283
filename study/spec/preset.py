"""Preset files as YAML: where they lie, what each is for, and how one that has a base is put together.

A preset with `base: other` says only what differs. Groups of keys are merged key by key, and null takes away what the
base says, so that the default counts again. `name` is the file's own. Paths among `dataset_options` are relative to the
folder of the file that gives them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import imagesets
from study.spec.problems import SpecError, nearest
from study.spec.text import parse

PRESETS = Path(__file__).parent.parent / "presets"
BASE = "base"
LARGEST = 2**20  # bytes of a preset's file


def presets() -> list[str]:
    """Names of the presets that come with the project."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def purpose(name: str) -> str:
    """What one of them is for: the first line of its file, where that is a remark."""
    first, _, _ = (PRESETS / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def read(preset: str | Path) -> tuple[str, dict[str, Any]]:
    """A preset as its file and its base say it, and its file's name; nothing in it is checked.

    Args:
        preset: a name in study/presets, or the path of a YAML file.

    Raises:
        SpecError: a file cannot be read, or its base is none.
    """
    path = _path(str(preset), Path())
    raw = _mapping(path, str(preset))
    given = raw.pop(BASE, None)
    base = {} if given is None else _base(path, given)
    dataset = raw.get("dataset", base.get("dataset"))
    _locate(raw, dataset, path.parent)
    if given is not None:
        _locate(base, dataset, _path(given, path.parent).parent)
        raw = _on(_yielding(base, raw), raw)
    raw.setdefault("name", path.stem)
    return path.name, raw


def _path(given: str, folder: Path) -> Path:
    return PRESETS / f"{given}.yaml" if given in presets() else folder / os.path.expanduser(given)


def _base(path: Path, given: Any) -> dict[str, Any]:
    if not isinstance(given, str):
        raise SpecError(path.name, [f"{BASE}: must be the name of a preset, or the path of a YAML file, got {given!r}"])
    try:
        raw = _mapping(_path(given, path.parent), given)
    except SpecError as error:
        raise SpecError(path.name, [f"{BASE}: {given}: {problem}" for problem in error.problems]) from None
    if BASE in raw:
        further = raw[BASE]
        raise SpecError(path.name, [f"{BASE}: {given} has a base itself, {further}; start from {further}"])
    raw.pop("name", None)
    return raw


def _locate(raw: dict[str, Any], dataset: Any, folder: Path) -> None:
    """Makes absolute the paths that a file in this folder names: of a model, and of options of that data set."""
    model, options = raw.get("model"), raw.get("dataset_options")
    if isinstance(model, str) and ("/" in model or model.endswith(".py")):
        raw["model"] = os.path.abspath(folder / os.path.expanduser(model))
    if dataset in imagesets.names() and isinstance(options, Mapping):
        raw["dataset_options"] = imagesets.located(dataset, options, folder)


def _yielding(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A base without what cannot stand beside a preset's own: another kind of range, length or pin of the same."""

    def group(said: Mapping[str, Any], name: str) -> dict[str, Any]:
        return dict(said[name]) if isinstance(said.get(name), dict) else {}

    fixed, space, budget = (group(base, name) for name in ("fixed", "space", "budget"))
    for name, given in group(own, "space").items():
        fixed.pop(name, None)
        before = group(space, name)
        if isinstance(given, dict) and ("choices" in given) != ("choices" in before):
            space.pop(name, None)
    for name in group(own, "fixed"):
        space.pop(name, None)
    for length, other in (("steps", "epochs"), ("epochs", "steps")):
        if length in group(own, "budget"):
            budget.pop(other, None)
    kept = {"fixed": fixed, "space": space, "budget": budget}
    return {**base, **{name: said for name, said in kept.items() if isinstance(base.get(name), dict)}}


def _on(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What a preset says on top of its base."""
    merged = dict(base)
    for key, value in own.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _on(merged[key], value)
        elif value is None and key in base:
            del merged[key]
        else:
            merged[key] = value
    return merged


def _mapping(path: Path, given: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)  # of a device there is no end
        text = content.decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise SpecError(
            given,
            [
                f"no such preset or file; presets: {', '.join(presets())}{nearest(given, presets())}"
                " (a file of yours is named by its path, ending in .yaml)"
            ],
        ) from None
    except (OSError, ValueError) as error:
        reason = "it is not a text file in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        reason = (error.strerror or reason) if isinstance(error, OSError) else reason
        raise SpecError(given, [f"cannot be read: {reason}; a preset is a YAML file"]) from None
    if len(content) > LARGEST:
        raise SpecError(given, [f"cannot be read: it is larger than {LARGEST} bytes; a preset is a YAML file"])
    try:
        raw = parse(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        unreadable = "unreadable characters" if isinstance(error, yaml.YAMLError) else str(error)
        raise SpecError(path.name, [f"is not YAML{where}: {getattr(error, 'problem', None) or unreadable}"]) from None
    if not isinstance(raw, dict):
        found = "nothing" if raw is None else f"a {type(raw).__name__}"
        raise SpecError(
            path.name, [f"holds {found}; a preset is a mapping of keys such as name, model, dataset, budget"]
        )
    return raw
