"""Whether a study can be judged by what it names: objectives, scores, samplers, pathologies."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import imagesets
import models
import searchspaces
from models.measures import Measure
from study.spec import pathologies
from study.spec.build import build
from study.spec.checks.data import sizes_known
from study.spec.checks.drawn import BUILT, check_builds, check_fixed, check_space, ways
from study.spec.measures import BESIDE, MEASURES, SCORES, possible
from study.spec.problems import nearest

if TYPE_CHECKING:
    from study.spec.specification import StudySpec


LEARN_AFTER = ("tpe", "gp")  # samplers that draw at random first


class _Measures(NamedTuple):
    """What a model measures that others do not, and what it lacks."""

    own: list[Measure]
    lacking: list[str]


def _measures(spec: StudySpec) -> _Measures | None:
    """Those of the model; nothing of a model that is not known, None of one that cannot be built yet."""
    if not all(hasattr(spec, key) for key in BUILT) or not sizes_known(spec):
        return _Measures([], [])
    if check_fixed(spec) or check_space(spec):
        return None
    import torch

    try:
        with torch.device("meta"):
            model = build(spec, spec.defaults())
    except ValueError:  # which `check_builds` tells
        return None
    return _Measures(list(model.measures()), ["elbo"] if model.posterior_part.density == "none" else [])


def check_measures(spec: StudySpec) -> list[str]:
    return _wrong_objectives(spec, _measures(spec))


def check_common_measures(spec: StudySpec) -> list[str]:
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


def check_scores(spec: StudySpec) -> list[str]:
    """What `confirm` is asked for by name and cannot be had; of what it is not asked for, it takes what it can."""
    named, problems = spec.confirm.scores or [], []
    for score in SCORES:
        if score.name in named and "factors" in score.measures[0].needs and not _has_factors(spec):
            problems.append(f"confirm.scores: {score.name} {_needs_factors(spec)}")
    if "udr" in named and spec.confirm.seeds < 2:
        problems.append("confirm.scores: udr compares seeds, where confirm.seeds is 1; ask for more, or take it out")
    return problems


def check_objective(spec: StudySpec) -> list[str]:
    objectives = spec.objectives
    return [
        f"objective: {'/'.join(objectives)} alone would drive {key} to one end of its range; "
        f"pin it (fixed: {{{key}: ...}}) or make it a trade-off (objective: [elbo, {second}])"
        for key, second in searchspaces.trade_offs(spec.model).items()
        if key not in spec.fixed and second not in objectives
    ]


def check_sampler(spec: StudySpec) -> list[str]:
    if spec.sampler == "nsga2" and isinstance(spec.objective, str):
        return ["sampler: nsga2 is for several objectives; take tpe, or name a second objective"]
    if spec.sampler == "cmaes" and not isinstance(spec.objective, str) and len(spec.objective) > 1:
        return ["sampler: cmaes is for a single objective; take tpe, gp or nsga2, or name one"]
    return []


def check_startup(spec: StudySpec) -> list[str]:
    if spec.startup is not None and spec.sampler not in LEARN_AFTER:
        return [f"startup: is for {' and '.join(LEARN_AFTER)}; sampler {spec.sampler} has none, take it out"]
    return []


def check_pathologies(spec: StudySpec) -> list[str]:
    """The names that are given, and those of a model of one's own."""
    named = spec.pathologies or spec.stop_on or models.outside.is_outside(spec.model)
    if not named or not sizes_known(spec) or check_builds(spec):
        return []
    import torch

    with torch.device("meta"):
        built = [build(spec, settings) for settings in (spec.defaults(), *(way.settings for way in ways(spec)))]
    return pathologies.problems(spec, built)
