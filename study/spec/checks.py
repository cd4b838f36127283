"""What must hold between the keys of a specification.

Each check is run as soon as the keys that it needs are sound, whatever ails the others, of which the specification then
has no more than those that are sound too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from optuna.distributions import BaseDistribution

import imagesets
import models
import searchspaces
from models.measures import Measure
from study.spec import pathologies
from study.spec.build import build
from study.spec.measures import BESIDE, MEASURES, SCORES, possible
from study.spec.problems import nearest
from study.spec.ranges import Range, is_whole, outside, own_ranges
from study.spec.settings import SETTINGS, is_setting
from study.spec.text import counted

if TYPE_CHECKING:
    from study.spec.specification import StudySpec


LONGEST = 2**31 - 1  # steps, which are 32-bit numbers in an Optuna storage
USUAL_BATCH = 64
USUAL_TESTED = 1000
LEARN_AFTER = ("tpe", "gp")  # samplers that draw at random first


def _length_known(spec: StudySpec) -> bool:
    if spec.budget.steps is not None:
        return True
    return all(hasattr(spec, key) for key in ("model", "dataset", "dataset_options")) and sizes_known(spec)


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


def _check_pairs(spec: StudySpec) -> list[str]:
    """Of a model of one's own the build says what it takes."""
    known = sizes_known(spec) and not models.outside.is_outside(spec.model)
    if not known or spec.images.paired == models.takes_pairs(spec.model):
        return []
    found, needed = ("pairs of images", "single ones") if spec.images.paired else ("single images", "pairs")
    fitting = [name for name in imagesets.names() if imagesets.about(name).paired != spec.images.paired]
    return [f"dataset: {spec.dataset} is of {found}, and {spec.title} takes {needed}: {', '.join(fitting)}"]


def _check_preprocessing(spec: StudySpec) -> list[str]:
    if spec.preprocessing.dequantise and spec.likelihood != "gaussian":
        return [f"preprocessing.dequantise: is for the gaussian likelihood, a density; this one is {spec.likelihood}"]
    return []


def _check_precision(spec: StudySpec) -> list[str]:
    if spec.precision == "tf32" and spec.resources.gpus == 0:
        return ["precision: tf32 is of GPUs, and with resources.gpus 0 trials are on CPUs; take full, or bf16"]
    return []


def _check_lengths(spec: StudySpec) -> list[str]:
    if not _length_known(spec):
        return []
    if spec.steps > LONGEST:
        return [f"budget.epochs: {spec.budget.epochs} are {spec.steps} steps; at most {LONGEST} are possible"]
    every = spec.budget.report_every
    if every is not None and every > spec.steps:
        return [f"budget.report_every: {every} must not exceed the budget, which is {counted(spec.steps, 'step')}"]
    return []


def _check_batch(spec: StudySpec) -> list[str]:
    """Fewer images than a batch are taken again; that is for few images, not for a slip in a number."""
    if not sizes_known(spec) or spec.budget.batch <= max(spec.images.train, USUAL_BATCH):
        return []
    there = f"which is of {counted(spec.images.train, 'image')}"
    return [f"budget.batch: {spec.budget.batch} must not exceed the training set of {spec.dataset}, {there}"]


def _check_images(spec: StudySpec) -> list[str]:
    """More images than there are is a slip, but for the usual number, of which as many are read as there are."""
    if not sizes_known(spec):
        return []
    counts = [("validation.images", spec.validation.images, "validation", spec.images.valid)]
    if spec.confirm.images != USUAL_TESTED:
        counts.append(("confirm.images", spec.confirm.images, "test", spec.images.test))
    return [
        f"{key}: {count} must not exceed the {part} set of {spec.dataset}, which is of {counted(there, 'image')}"
        for key, count, part, there in counts
        if count is not None and count > there
    ]


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
    before = (_check_grace, _check_fixed, _check_space)
    if spec.asha is None or not _length_known(spec) or any(check(spec) for check in before):
        return []
    if not spec.rungs:
        return [
            f"asha: no rung lies before the end of the budget ({counted(spec.steps, 'step')}) and after the longest "
            f"KL warm-up ({counted(spec.longest_warmup, 'step', 'g')}); lower asha.grace, pin kl_warmup, or write "
            "asha: null"
        ]
    return []


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


def _check_fixed(spec: StudySpec) -> list[str]:
    problems = _check_names(spec, "fixed", spec.fixed)
    told = {problem.partition(":")[0] for problem in problems}
    fixed = {key: value for key, value in spec.fixed.items() if f"fixed.{key}" not in told}
    return problems + [
        f"fixed.{key}: {message}" for key, value in fixed.items() for message in outside(spec.model, key, value)
    ]


def _check_space(spec: StudySpec) -> list[str]:
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
    if not problems and not _check_fixed(spec):
        drawn = {drawn for way in _ways(spec) for drawn in way.drawn}
        problems += [f"space.{name}: {_never(spec, name)}" for name in spec.space if name not in drawn]
    return problems


def _check_idle(spec: StudySpec) -> list[str]:
    """Pins and ranges that do nothing in any trial. To pin a default changes nothing, and is nothing wrong."""
    if _check_fixed(spec) or _check_space(spec):
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


def _check_builds(spec: StudySpec) -> list[str]:
    """Whether what the space draws beside the pins can be built: the paper's values, then each way through it."""
    before = (_check_fixed, _check_space, _check_sigma, _check_preprocessing, _check_pairs)
    if any(check(spec) for check in before) or not sizes_known(spec):
        return []
    problems = _check_build(spec, spec.defaults())
    for way in () if problems else _ways(spec):
        said = [f"{problem}; the space draws that: pin more" for problem in _check_build(spec, way.settings)]
        problems += [problem for problem in said if problem not in problems]
    return problems


def _ways(spec: StudySpec) -> list[searchspaces.Branch]:
    return searchspaces.branches(spec.draw)


def _check_build(spec: StudySpec, settings: Mapping[str, Any]) -> list[str]:
    import torch

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


class _Measures(NamedTuple):
    """What a model measures that others do not, and what it lacks."""

    own: list[Measure]
    lacking: list[str]


def _measures(spec: StudySpec) -> _Measures | None:
    """Those of the model; nothing of a model that is not known, None of one that cannot be built yet."""
    if not all(hasattr(spec, key) for key in BUILT) or not sizes_known(spec):
        return _Measures([], [])
    if _check_fixed(spec) or _check_space(spec):
        return None
    import torch

    try:
        with torch.device("meta"):
            model = build(spec, spec.defaults())
    except ValueError:  # which `_check_builds` tells
        return None
    return _Measures(list(model.measures()), ["elbo"] if model.posterior_part.density == "none" else [])


def _check_measures(spec: StudySpec) -> list[str]:
    return _wrong_objectives(spec, _measures(spec))


def _check_common_measures(spec: StudySpec) -> list[str]:
    """The same without a model: of one that measures something itself, only what all models have is judged."""
    classes = vars(models.described(spec.model)).values() if hasattr(spec, "model") else ()
    measures_itself = any(isinstance(each, type) and "measures" in vars(each) for each in classes)
    return _wrong_objectives(spec, None if measures_itself else _Measures([], []))


def _wrong_objectives(spec: StudySpec, found: _Measures | None) -> list[str]:
    own, lacking = found or _Measures([], [])
    taken = {*(measure.name for measure in MEASURES), *BESIDE}
    problems = [
        f"model: its measure {measure.name!r} has the name of another number; call it something else"
        for measure in own
        if measure.name in taken
    ]
    known = {measure.name: measure for measure in (*MEASURES, *own) if measure.name not in lacking}
    has = ["factors"] if _has_factors(spec) else []
    eligible = [name for name, m in known.items() if m.when != "confirm" and m.better == "more" and possible(m, has)]
    for name in spec.objectives:
        if name not in known and found is None:
            continue
        if name in lacking:
            without = f"{spec.title} has no {name}, because its posterior has no density"
            problems.append(f"objective: {without}; known: {', '.join(eligible)}")
        elif name not in known:
            lead = f"metric {name!r} is not known; known: {', '.join(eligible)}{nearest(name, eligible)}"
            problems.append(f"objective: {lead}")
        elif known[name].when == "confirm":
            problems.append(f"objective: {name} is taken on the test set only; known: {', '.join(eligible)}")
        elif known[name].better != "more":
            problems.append(
                f"objective: less {name} is better, and objectives are maximised; known: {', '.join(eligible)}"
            )
        elif not possible(known[name], has):
            problems.append(f"objective: {name} {_needs_factors(spec)}; known: {', '.join(eligible)}")
    return problems


def _has_factors(spec: StudySpec) -> bool:
    """Whether the data has factors, as far as can be told yet."""
    told = hasattr(spec, "dataset") and hasattr(spec, "dataset_options") and sizes_known(spec)
    return not told or bool(spec.images.factors)


def _needs_factors(spec: StudySpec) -> str:
    having = [name for name in imagesets.names() if imagesets.about(name).factors]
    return f"needs factors, which {spec.dataset} does not have; {', '.join(having)} have them, and `images` may"


def _check_scores(spec: StudySpec) -> list[str]:
    """What `confirm` is asked for by name and cannot be had; of what it is not asked for, it takes what it can."""
    named, problems = spec.confirm.scores or [], []
    for score in SCORES:
        if score.name in named and "factors" in score.measures[0].needs and not _has_factors(spec):
            problems.append(f"confirm.scores: {score.name} {_needs_factors(spec)}")
    if "udr" in named and spec.confirm.seeds < 2:
        problems.append("confirm.scores: udr compares seeds, where confirm.seeds is 1; ask for more, or take it out")
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
    if spec.sampler == "cmaes" and not isinstance(spec.objective, str) and len(spec.objective) > 1:
        return ["sampler: cmaes is for a single objective; take tpe, gp or nsga2, or name one"]
    return []


def _check_startup(spec: StudySpec) -> list[str]:
    if spec.startup is not None and spec.sampler not in LEARN_AFTER:
        return [f"startup: is for {' and '.join(LEARN_AFTER)}; sampler {spec.sampler} has none, take it out"]
    return []


def _check_grid(spec: StudySpec) -> list[str]:
    if spec.sampler != "grid" or _check_fixed(spec) or _check_space(spec) or _check_builds(spec):
        return []
    ways = [set(way.drawn) for way in _ways(spec)]
    if sometimes := set[str]().union(*ways) - ways[0].intersection(*ways):
        named = ", ".join(sorted(sometimes))
        return [f"sampler: a grid needs the same hyperparameters in every trial; {named} are drawn in some; pin more"]
    return []


def _check_pathologies(spec: StudySpec) -> list[str]:
    """The names that are given, and those of a model of one's own."""
    named = spec.pathologies or spec.stop_on or models.outside.is_outside(spec.model)
    if not named or not sizes_known(spec) or _check_builds(spec):
        return []
    import torch

    with torch.device("meta"):
        built = [build(spec, settings) for settings in (spec.defaults(), *(way.settings for way in _ways(spec)))]
    return pathologies.problems(spec, built)


BUILT = ("fixed", "space", "model", "dataset", "dataset_options", "likelihood", "sigma", "preprocessing")

CHECKS: list[tuple[tuple[str, ...], Callable[[StudySpec], list[str]]]] = [
    (("budget",), _check_lengths),
    (("budget", "dataset", "dataset_options"), _check_batch),
    (("validation", "confirm", "dataset", "dataset_options"), _check_images),
    (("confirm", "dataset", "dataset_options"), _check_scores),
    (("budget", "asha"), _check_grace),
    (("budget", "dataset", "dataset_options", "asha", "fixed", "space", "model"), _check_rungs),
    (("dataset", "dataset_options"), _check_dataset_options),
    (("dataset", "dataset_options", "pairing"), _check_pairing),
    (("dataset", "dataset_options", "model"), _check_pairs),
    (("likelihood", "preprocessing"), _check_preprocessing),
    (("likelihood", "sigma"), _check_sigma),
    (("precision", "resources"), _check_precision),
    (("fixed", "model"), _check_fixed),
    (("fixed", "space", "model"), _check_space),
    (("fixed", "space", "model"), _check_idle),
    (BUILT, _check_builds),
    (("objective",), _check_measures),
    (("objective", "fixed", "model"), _check_objective),
    (("sampler", "objective"), _check_sampler),
    (("sampler", "startup"), _check_startup),
    (("sampler", *BUILT), _check_grid),
    (("pathologies", "stop_on", *BUILT), _check_pathologies),
]

OF_MODELS = (_check_builds, _check_measures, _check_grid, _check_pathologies)
WITHOUT: dict[Callable[..., list[str]], Callable[[StudySpec], list[str]]] = {_check_measures: _check_common_measures}
"""What stands in for some of them where no model is built."""
LATER = (_check_images, _check_idle, _check_scores)


def of(kept: bool, building: bool = True) -> list[tuple[tuple[str, ...], Callable[[StudySpec], list[str]]]]:
    """The checks, with the keys that each needs.

    Args:
        kept: of a specification that a run has kept: those that build no model, and that were there in every release.
        building: those too that build a model, which takes torch and so seconds.
    """
    left_out = OF_MODELS + LATER if kept else () if building else (_check_builds, _check_grid, _check_pathologies)
    chosen = [(needs, check) for needs, check in CHECKS if check not in left_out]
    return chosen if building else [(needs, WITHOUT.get(check, check)) for needs, check in chosen]
