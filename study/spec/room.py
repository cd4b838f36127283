"""Whether this machine has room for a trial, before anything is started or written; of a cluster Ray knows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

import models
import searchspaces
from study import machine
from study.spec.build import build
from study.spec.problems import SpecError
from study.spec.text import counted

if TYPE_CHECKING:
    from study.spec.specification import StudySpec

COPIES = 4  # of each parameter in a training: itself, its gradient, and Adam's two moments


def check_room(spec: StudySpec) -> None:
    """Raises SpecError where a trial asks for more than this machine has."""
    cpus, gpus, memory = machine.cpus(), machine.gpus(), machine.memory()
    problems = lacking(spec, "this machine", cpus, gpus)
    for settings in (spec.defaults(), spec.draw(_Largest(spec))):
        count = _parameters(spec, settings)
        if count * 4 * COPIES > memory:
            sizes = {key: settings[key] for key in ("latent", "hidden", "decoder_hidden") if settings.get(key)}
            given = ", ".join(f"{key} {value}" for key, value in sizes.items())
            problems.append(
                f"fixed, space: a model with {given} has {count:.3g} parameters, whose training takes "
                f"{count * 4 * COPIES / 1e9:.3g} GB; this machine has {memory / 1e9:.3g}; pin less, or lower the range"
            )
            break
    if problems:
        raise SpecError(spec.name, problems)


def lacking(spec: StudySpec, where: str, cpus: float, gpus: float) -> list[str]:
    """What a trial asks for and has not got there, a line each.

    Args:
        spec: of the study.
        where: "this machine", or "this cluster".
        cpus, gpus: that are there.
    """
    wanted, problems = spec.resources, list[str]()
    if wanted.cpus > cpus:
        asked = f"a trial asks for {counted(wanted.cpus, 'CPU')}, {where} has {cpus:g}"
        problems.append(f"resources.cpus: {asked}")
    if wanted.gpus > gpus:
        asked = f"a trial asks for {counted(wanted.gpus, 'GPU', 'g')}, {where} has {f'{gpus:g}' if gpus else 'none'}"
        problems.append(f"resources.gpus: {asked}; add --set resources.gpus=0 to run on CPUs")
    return problems


def _parameters(spec: StudySpec, settings: dict[str, Any]) -> int:
    try:
        with torch.device("meta"):  # takes no memory
            return sum(parameter.numel() for parameter in build(spec, settings).parameters())
    except models.ModelError:  # the largest of each together may be no model; each trial of such fails by itself
        return 0


class _Largest(searchspaces.Usual):
    """A trial that takes the upper end of every range, and of choices that are numbers the largest."""

    def __init__(self, spec: StudySpec):
        super().__init__(spec.defaults())

    def suggest_float(self, name: str, low: float, high: float, **_: Any) -> Any:
        return self.params.setdefault(name, high)

    def suggest_int(self, name: str, low: int, high: int, **_: Any) -> Any:
        return self.params.setdefault(name, high)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        if all(type(choice) is int for choice in choices):
            return self.params.setdefault(name, max(choices))
        return super().suggest_categorical(name, choices)
