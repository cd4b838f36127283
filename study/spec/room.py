"""Whether this machine has room for a trial, before anything is started or written; of a cluster Ray knows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

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
    memory, gpus = machine.memory(), machine.gpus()
    problems = lacking(spec, "this machine", [Has(machine.cpus(), gpus)])
    if spec.compiled and not (spec.resources.gpus and gpus) and machine.cpp_compiler() is None:
        problems.append(
            "compiled: torch compiles for CPUs with a C++ compiler, and this machine has none that it finds; install "
            "g++, name one in the variable CXX, or add --set compiled=false"
        )
    for settings in (spec.defaults(), largest(spec)):
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


def largest(spec: StudySpec) -> dict[str, Any]:
    """The configuration at the upper end of every range, with the defaults' choices: a model of it may not exist."""
    return spec.draw(_Largest(spec))


class Has(NamedTuple):
    """What a machine has for trials."""

    cpus: float
    gpus: float


def has_room(spec: StudySpec, there: Has) -> bool:
    """Whether a trial fits on a machine."""
    return spec.resources.cpus <= there.cpus and spec.resources.least_gpus <= there.gpus


def lacking(spec: StudySpec, where: str, there: Sequence[Has]) -> list[str]:
    """What a trial asks for and no machine has, a line each.

    Args:
        spec: of the study.
        where: "this machine", or "this cluster".
        there: its machines.
    """
    if any(has_room(spec, one) for one in there):
        return []
    wanted, problems = spec.resources, list[str]()
    asked_cpus, asked_gpus = counted(wanted.cpus, "CPU"), counted(wanted.least_gpus, "GPU", "g")
    cpus, gpus = (max(numbers) for numbers in zip(*there))
    on_one = " on a machine" if len(there) > 1 else ""
    if wanted.cpus > cpus:
        problems.append(f"resources.cpus: a trial asks for {asked_cpus}, {where} has {cpus:g}{on_one}")
    if wanted.least_gpus > gpus:
        most = f"{gpus:g}{on_one}" if gpus else "none"
        remedy = "add --set resources.gpus=0 to run on CPUs"
        problems.append(f"resources.gpus: a trial asks for {asked_gpus}, {where} has {most}; {remedy}")
    return problems or [f"resources: a trial asks for {asked_cpus} and {asked_gpus}, {where} has no machine with both"]


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
