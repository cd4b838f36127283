"""How a study draws its configurations: Optuna's samplers, seeded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

if TYPE_CHECKING:
    from study.spec import StudySpec


def sampler(spec: StudySpec, stored: int) -> optuna.samplers.BaseSampler:
    """The study's sampler.

    Args:
        spec: of the study.
        stored: trials in the storage already. They enter the seed: with the study's alone, a second process would
            draw the first one's points again.
    """
    seed = int(np.random.SeedSequence([spec.seed, stored]).generate_state(1)[0])
    if spec.sampler == "random":
        return optuna.samplers.RandomSampler(seed)
    if spec.sampler == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed)
    if spec.sampler == "grid":
        own = spec.seed % 2**32  # numpy's old generators take no more
        return Grid(grid(spec.distributions(), spec.trials), seed=own)
    return optuna.samplers.TPESampler(seed=seed)


class Grid(optuna.samplers.GridSampler):
    """Optuna's, for a search that asks and tells: the number of trials ends it, not the last point of the grid."""

    def after_trial(self, *args: Any) -> None:
        """Nothing: Optuna's stops the loop of `Study.optimize`, and raises where there is none."""


def grid(distributions: Mapping[str, BaseDistribution], trials: int) -> dict[str, list[Any]]:
    """A grid: all categories, and for every number equally many values across its range, at least two.

    As many values as `trials` points allow; a grid of more points than trials is visited in part, in random order.
    """
    categories = {k: d for k, d in distributions.items() if isinstance(d, CategoricalDistribution)}
    numbers = {k: d for k, d in distributions.items() if isinstance(d, FloatDistribution | IntDistribution)}
    combinations = int(np.prod([len(d.choices) for d in categories.values()], dtype=int))
    values = 2
    while (values + 1) ** len(numbers) * combinations <= trials and numbers:
        values += 1
    return {k: list(d.choices) for k, d in categories.items()} | {k: _spread(d, values) for k, d in numbers.items()}


def _spread(distribution: FloatDistribution | IntDistribution, values: int) -> list[Any]:
    low, high, step = distribution.low, distribution.high, distribution.step
    points = [float(p) for p in (np.geomspace if distribution.log else np.linspace)(low, high, values)]
    if step is not None:
        points = [low + round((p - low) / step) * step for p in points]
    return sorted({min(max(p, low), high) for p in points})
