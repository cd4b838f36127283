"""What must hold between the keys of a specification.

Each check is run as soon as the keys that it needs are sound, whatever ails the others, of which the specification then
has no more than those that are sound too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

import imagesets
import models
import searchspaces
from models.measures import Measure
from study.spec.build import build, usual
from study.spec.measures import MEASURES
from study.spec.problems import nearest
from study.spec.settings import SETTINGS, check_settings, is_setting

if TYPE_CHECKING:
    from study.spec.specification import StudySpec


def _length_known(spec: StudySpec) -> bool:
    if spec.budget.steps is not None:
        return True
    return hasattr(spec, "dataset") and hasattr(spec, "dataset_options") and sizes_known(spec)


def sizes_known(spec: StudySpec) -> bool:
    """Whether the data set's options are right, and a source of one's own that they name is there."""
    return _data_error(spec) is None


def check_source(spec: StudySpec) -> list[str]:
    """What is wrong with a source of one's own: of the machine, and so no mistake of a specification that is kept."""
    error = _data_error(spec)
    return [f"dataset_options: {error}"] if isinstance(error, imagesets.SourceError) else []


def _check_dataset_options(spec: StudySpec) -> list[str]:
    error = _data_error(spec)
    return [] if error is None or isinstance(error, imagesets.SourceError) else [f"dataset_options: {error}"]


def _data_error(spec: StudySpec) -> imagesets.DataError | None:
    try:
        imagesets.info(spec.dataset, **spec.dataset_options)
    except imagesets.DataError as error:
        return error
    return None


def _check_pairing(spec: StudySpec) -> list[str]:
    if spec.pairing != "index" and sizes_known(spec) and not spec.images.paired:
        return [f"pairing: {spec.pairing} is for data sets of pairs; an image of {spec.dataset} is single"]
    return []


def _check_preprocessing(spec: StudySpec) -> list[str]:
    if spec.preprocessing.dequantise and spec.likelihood != "gaussian":
        return [f"preprocessing.dequantise: is for the gaussian likelihood, a density; this one is {spec.likelihood}"]
    return []


def _check_lengths(spec: StudySpec) -> list[str]:
    if not _length_known(spec):
        return []
    every = spec.budget.report_every
    if every is not None and every > spec.steps:
        return [f"budget.report_every: {every} must not exceed the budget, which is {spec.steps} steps"]
    return []


def _check_grace(spec: StudySpec) -> list[str]:
    if spec.asha is None or not _length_known(spec):
        return []
    grace, every = spec.asha.grace, spec.report_every
    if grace > spec.steps:
        return [f"asha.grace: {grace} must not exceed budget.steps, which is {spec.steps}"]
    if grace % every:
        return [f"asha.grace: {grace} must be a multiple of budget.report_every, which is {every}"]
    return []


def _check_rungs(spec: StudySpec) -> list[str]:
    if spec.asha is not None and _length_known(spec) and not _check_grace(spec) and not spec.rungs:
        return [
            f"asha: no rung lies before the end of the budget ({spec.steps} steps) and after the longest KL warm-up "
            f"({spec.longest_warmup:g} steps); lower asha.grace, pin kl_warmup, or write asha: null"
        ]
    return []


def _check_fixed(spec: StudySpec) -> list[str]:
    known = {**models.hyperparameters(spec.model), **searchspaces.defaults(spec.model), **SETTINGS}
    for key in ("likelihood", "sigma", "logit"):
        known.pop(key, None)
    problems = []
    for key in spec.fixed:
        if key in ("likelihood", "sigma"):
            problems.append(f"fixed.{key}: it is a key of the preset itself; move it out of `fixed`")
        elif key == "logit":
            problems.append("fixed.logit: it is preprocessing.logit in the preset itself; move it out of `fixed`")
        elif key == "steps":
            problems.append("fixed.steps: the length of a training is budget.steps")
        elif key not in known and not is_setting(key):  # whose names the build judges
            problems.append(
                f"fixed.{key}: {spec.model} has no such setting; it has: {', '.join(known)}{nearest(key, list(known))}"
            )
    fixed = {key: value for key, value in spec.fixed.items() if key in known or is_setting(key)}
    training = {key: value for key, value in fixed.items() if is_setting(key)}
    model = {key: value for key, value in fixed.items() if not is_setting(key)}
    wrong = check_settings(training) + models.check(spec.model, model)
    problems += [f"fixed.{key}: {message}" for key, message in wrong]
    if not problems and not (_check_sigma(spec) or _check_preprocessing(spec)) and sizes_known(spec):
        trial = searchspaces.Usual(searchspaces.defaults(spec.model))
        problems += _check_build(spec, searchspaces.beside(spec.model, fixed)(trial))
        for way in () if problems else _ways(spec):
            said = [f"{problem}; the space draws that: pin more" for problem in _check_build(spec, way.settings)]
            problems += [problem for problem in said if problem not in problems]
    return problems


def _ways(spec: StudySpec) -> list[searchspaces.Branch]:
    return searchspaces.branches(searchspaces.beside(spec.model, spec.fixed))


def _check_build(spec: StudySpec, settings: Mapping[str, Any]) -> list[str]:
    try:
        with torch.device("meta"):  # takes no memory, and no random numbers
            build(spec, settings)
    except models.ModelError as error:
        return [str(error)]
    return []


def _check_sigma(spec: StudySpec) -> list[str]:
    if spec.likelihood != "gaussian" and spec.sigma != "learned":
        return [f"sigma: only the gaussian likelihood has one, this one is {spec.likelihood}"]
    if not isinstance(spec.sigma, str) and not 0 < spec.sigma < math.inf:
        return [f"sigma: must be a positive number, 'learned' or 'per_pixel', got {spec.sigma}"]
    return []


def _check_measures(spec: StudySpec) -> list[str]:
    own: list[Measure] = []
    if all(hasattr(spec, key) for key in ("model", "dataset", "dataset_options")) and sizes_known(spec):
        model = usual(spec.model, spec.images.image_shape)
        own = [] if model is None else list(model.measures())
    known = {measure.name: measure for measure in (*MEASURES, *own)}
    eligible = [name for name, measure in known.items() if measure.when == "report" and measure.better == "more"]
    problems = []
    for name in spec.objectives:
        if name not in known:
            lead = f"metric {name!r} is not known; known: {', '.join(eligible)}{nearest(name, eligible)}"
            problems.append(f"objective: {lead}")
        elif known[name].when != "report":
            problems.append(f"objective: {name} is taken on the test set only; known: {', '.join(eligible)}")
        elif known[name].better != "more":
            problems.append(
                f"objective: less {name} is better, and objectives are maximised; known: {', '.join(eligible)}"
            )
    return problems


def _check_objective(spec: StudySpec) -> list[str]:
    objectives = spec.objectives
    return [
        f"objective: {'/'.join(objectives)} alone would drive {key} to one end of its range; "
        f"pin it (fixed: {{{key}: ...}}) or make it a trade-off (objective: [elbo, {second}])"
        for key, second in searchspaces.trade_offs(spec.model).items()
        if key not in spec.fixed and second not in objectives
    ]


def _check_sampler(spec: StudySpec) -> list[str]:
    if spec.sampler == "nsga2" and isinstance(spec.objective, str):
        return ["sampler: nsga2 is for several objectives; take tpe, or name a second objective"]
    return []


def _check_grid(spec: StudySpec) -> list[str]:
    if spec.sampler != "grid" or _check_fixed(spec):
        return []
    ways = [set(way.drawn) for way in _ways(spec)]
    if sometimes := set[str]().union(*ways) - ways[0].intersection(*ways):
        named = ", ".join(sorted(sometimes))
        return [f"sampler: a grid needs the same hyperparameters in every trial; {named} are drawn in some; pin more"]
    return []


CHECKS: list[tuple[tuple[str, ...], Callable[[StudySpec], list[str]]]] = [
    (("budget",), _check_lengths),
    (("budget", "asha"), _check_grace),
    (("budget", "dataset", "dataset_options", "asha", "fixed", "model"), _check_rungs),
    (("dataset", "dataset_options"), _check_dataset_options),
    (("dataset", "dataset_options", "pairing"), _check_pairing),
    (("likelihood", "preprocessing"), _check_preprocessing),
    (("likelihood", "sigma"), _check_sigma),
    (("fixed", "model", "dataset", "dataset_options", "likelihood", "sigma", "preprocessing"), _check_fixed),
    (("objective",), _check_measures),
    (("objective", "fixed", "model"), _check_objective),
    (("sampler", "objective"), _check_sampler),
    (
        ("sampler", "fixed", "model", "dataset", "dataset_options", "likelihood", "sigma", "preprocessing"),
        _check_grid,
    ),
]
