"""Whether pins and ranges are of the model, do something, and can be built; and whether rungs are left."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution

import models
import searchspaces
from study.spec.build import build
from study.spec.checks.data import check_pairs, check_preprocessing, length_known, sizes_known
from study.spec.problems import nearest
from study.spec.ranges import Range, is_whole, outside, own_ranges
from study.spec.settings import SETTINGS, is_setting
from study.spec.text import counted

if TYPE_CHECKING:
    from study.spec.specification import StudySpec


BUILT = ("fixed", "space", "model", "dataset", "dataset_options", "likelihood", "sigma", "preprocessing")

OF_THE_PRESET = {
    "likelihood": "it is a key of the preset itself; move it out of",
    "sigma": "it is a key of the preset itself; move it out of",
    "logit": "it is preprocessing.logit in the preset itself; move it out of",
    "steps": "the length of a training is budget.steps; it cannot be in",
}


def _check_names(spec: StudySpec, group: str, given: Iterable[str]) -> list[str]:
    """Whether the model or its training has settings of these names, which are in a group of the preset."""
    known = {**models.hyperparameters(spec.model), **searchspaces.defaults(spec.model), **SETTINGS}
    names = [name for name in known if name not in OF_THE_PRESET]
    problems = []
    for key in given:
        if key in OF_THE_PRESET:
            problems.append(f"{group}.{key}: {OF_THE_PRESET[key]} `{group}`")
        elif key not in names and not is_setting(key):  # whose names the build judges
            said = f"{spec.title} has no such setting; it has: {', '.join(names)}{nearest(key, names)}"
            problems.append(f"{group}.{key}: {said}")
    return problems


def check_fixed(spec: StudySpec) -> list[str]:
    problems = _check_names(spec, "fixed", spec.fixed)
    told = {problem.partition(":")[0] for problem in problems}
    fixed = {key: value for key, value in spec.fixed.items() if f"fixed.{key}" not in told}
    return problems + [
        f"fixed.{key}: {message}" for key, value in fixed.items() for message in outside(spec.model, key, value)
    ]


def check_space(spec: StudySpec) -> list[str]:
    problems = _check_names(spec, "space", spec.space)
    told = {problem.partition(":")[0] for problem in problems}
    own = own_ranges(spec.model)
    for name, given in spec.space.items():
        if f"space.{name}" in told:
            continue
        if name in spec.fixed:
            problems.append(
                f"space.{name}: it is pinned too, to {spec.fixed[name]!r}; take it out of `fixed` or `space`"
            )
            continue
        wrong = [
            (at, message)
            for at, values in given.named.items()
            for value in values
            for message in outside(spec.model, name, value)
        ]
        problems += [f"space.{name}.{at}: {message}" for at, message in wrong]
        if not wrong:
            problems += _check_range(spec, name, given, own.get(name))
    if not problems and not check_fixed(spec):
        drawn = {drawn for way in ways(spec) for drawn in way.drawn}
        problems += [f"space.{name}: {_never(spec, name)}" for name in spec.space if name not in drawn]
    return problems


def check_idle(spec: StudySpec) -> list[str]:
    """Pins and ranges that do nothing in any trial. To pin a default changes nothing, and is nothing wrong."""
    if check_fixed(spec) or check_space(spec):
        return []
    usual, idle = {**models.hyperparameters(spec.model), **searchspaces.defaults(spec.model)}, _idle(spec, spec.fixed)
    pinned = [f"fixed.{name}" for name, value in spec.fixed.items() if name in idle and value != usual[name]]
    problems = []
    for key in [*pinned, *(f"space.{name}" for name in spec.space if name in idle)]:
        name = key.partition(".")[2]
        without = {pin: {k: v for k, v in spec.fixed.items() if k != pin} for pin in spec.fixed}
        beside = [f"{pin} {spec.fixed[pin]}" for pin, rest in without.items() if name not in _idle(spec, rest)]
        why = f"it does nothing beside {' and '.join(beside)}" if beside else "it does nothing in any trial"
        problems.append(f"{key}: {why}; take it out")
    return problems


def _idle(spec: StudySpec, fixed: Mapping[str, Any]) -> set[str]:
    """The hyperparameters that do nothing in any trial beside these pins."""
    ways = searchspaces.branches(searchspaces.beside(spec.model, fixed))
    return set.intersection(*(models.idle(spec.model, way.settings) for way in ways))


def _check_range(spec: StudySpec, name: str, given: Range, own: BaseDistribution | None) -> list[str]:
    try:
        drawn = given.on(own, is_whole(spec.model, name, given))
    except ValueError as error:
        return [f"space.{name}: {error}"]
    ends = [end for end in (getattr(drawn, "low", None), getattr(drawn, "high", None)) if end is not None]
    return [f"space.{name}: {message}" for end in ends for message in outside(spec.model, name, end)][:1]


def _never(spec: StudySpec, name: str) -> str:
    """Why a hyperparameter that the model's space draws in some trials is drawn in none of this study."""
    ways = searchspaces.branches(searchspaces.space(spec.model))
    told = []
    for choice in dict.fromkeys(choice for way in ways for choice in way.drawn):
        having, lacking = (
            {way.settings.get(choice) for way in ways if (name in way.drawn) is there} for there in (True, False)
        )
        if lacking and not having & lacking and choice != name:
            told.append(f"{choice} {' or '.join(map(str, sorted(having, key=str)))}")
    where = f", only with {', '.join(told)}" if told else ""
    return f"no trial of this study draws it{where}; take it out, or pin less"


def check_sigma(spec: StudySpec) -> list[str]:
    if spec.likelihood != "gaussian" and spec.sigma != "learned":
        return [f"sigma: only the gaussian likelihood has one, this one is {spec.likelihood}"]
    if not isinstance(spec.sigma, str) and not 0 < spec.sigma < math.inf:
        return [f"sigma: must be a positive number, 'learned' or 'per_pixel', got {spec.sigma}"]
    return []


def check_builds(spec: StudySpec) -> list[str]:
    """Whether what the space draws beside the pins can be built: the paper's values, then each way through it."""
    before = (check_fixed, check_space, check_sigma, check_preprocessing, check_pairs)
    if any(check(spec) for check in before) or not sizes_known(spec):
        return []
    problems = _check_build(spec, spec.defaults())
    for way in () if problems else ways(spec):
        said = [f"{problem}; the space draws that: pin more" for problem in _check_build(spec, way.settings)]
        problems += [problem for problem in said if problem not in problems]
    return problems


def ways(spec: StudySpec) -> list[searchspaces.Branch]:
    return searchspaces.branches(spec.draw)


def _check_build(spec: StudySpec, settings: Mapping[str, Any]) -> list[str]:
    import torch

    try:
        with torch.device("meta"):  # takes no memory, and no random numbers
            build(spec, settings)
    except models.ModelError as error:
        return [str(error)]
    return []


def check_grid(spec: StudySpec) -> list[str]:
    if spec.sampler != "grid" or check_fixed(spec) or check_space(spec) or check_builds(spec):
        return []
    drawn = [set(way.drawn) for way in ways(spec)]
    if sometimes := set[str]().union(*drawn) - drawn[0].intersection(*drawn):
        named = ", ".join(sorted(sometimes))
        return [f"sampler: a grid needs the same hyperparameters in every trial; {named} are drawn in some; pin more"]
    return []


def check_grace(spec: StudySpec) -> list[str]:
    if spec.asha is None or not length_known(spec):
        return []
    grace, every = spec.asha.grace, spec.report_every
    if grace > spec.steps:
        return [f"asha.grace: {grace} must not exceed budget.steps, which is {spec.steps}"]
    if grace % every:
        return [f"asha.grace: {grace} must be a multiple of budget.report_every, which is {every}"]
    return []


def check_rungs(spec: StudySpec) -> list[str]:
    before = (check_grace, check_fixed, check_space)
    if spec.asha is None or not length_known(spec) or any(check(spec) for check in before):
        return []
    if not spec.rungs:
        return [
            f"asha: no rung lies before the end of the budget ({counted(spec.steps, 'step')}) and after the longest "
            f"KL warm-up ({counted(spec.longest_warmup, 'step', 'g')}); lower asha.grace, pin kl_warmup, or write "
            "asha: null"
        ]
    return []
