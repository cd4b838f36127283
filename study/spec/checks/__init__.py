"""What must hold between the keys of a specification.

Each check is run as soon as the keys that it needs are sound, whatever ails the others, of which the specification then
has no more than those that are sound too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from study.spec.checks.data import (
    check_batch,
    check_dataset_options,
    check_images,
    check_lengths,
    check_pairing,
    check_pairs,
    check_precision,
    check_preprocessing,
)
from study.spec.checks.drawn import (
    BUILT,
    check_builds,
    check_fixed,
    check_grace,
    check_grid,
    check_idle,
    check_rungs,
    check_sigma,
    check_space,
)
from study.spec.checks.judged import (
    check_common_measures,
    check_measures,
    check_objective,
    check_pathologies,
    check_sampler,
    check_scores,
    check_startup,
)

if TYPE_CHECKING:
    from study.spec.specification import StudySpec


CHECKS: list[tuple[tuple[str, ...], Callable[[StudySpec], list[str]]]] = [
    (("budget",), check_lengths),
    (("budget", "dataset", "dataset_options"), check_batch),
    (("validation", "confirm", "dataset", "dataset_options"), check_images),
    (("confirm", "dataset", "dataset_options"), check_scores),
    (("budget", "asha"), check_grace),
    (("budget", "dataset", "dataset_options", "asha", "fixed", "space", "model"), check_rungs),
    (("dataset", "dataset_options"), check_dataset_options),
    (("dataset", "dataset_options", "pairing"), check_pairing),
    (("dataset", "dataset_options", "model"), check_pairs),
    (("likelihood", "preprocessing"), check_preprocessing),
    (("likelihood", "sigma"), check_sigma),
    (("precision", "resources"), check_precision),
    (("fixed", "model"), check_fixed),
    (("fixed", "space", "model"), check_space),
    (("fixed", "space", "model"), check_idle),
    (BUILT, check_builds),
    (("objective",), check_measures),
    (("objective", "fixed", "model"), check_objective),
    (("sampler", "objective"), check_sampler),
    (("sampler", "startup"), check_startup),
    (("sampler", *BUILT), check_grid),
    (("pathologies", "stop_on", *BUILT), check_pathologies),
]

OF_MODELS = (check_builds, check_measures, check_grid, check_pathologies)

WITHOUT: dict[Callable[..., list[str]], Callable[[StudySpec], list[str]]] = {check_measures: check_common_measures}
"""What stands in for some of them where no model is built."""

LATER = (check_images, check_idle, check_scores)


def of(kept: bool, building: bool = True) -> list[tuple[tuple[str, ...], Callable[[StudySpec], list[str]]]]:
    """The checks, with the keys that each needs.

    Args:
        kept: of a specification that a run has kept: those that build no model, and that were there in every release.
        building: those too that build a model, which takes torch and so seconds.
    """
    left_out = OF_MODELS + LATER if kept else () if building else (check_builds, check_grid, check_pathologies)
    chosen = [(needs, check) for needs, check in CHECKS if check not in left_out]
    return chosen if building else [(needs, WITHOUT.get(check, check)) for needs, check in chosen]
