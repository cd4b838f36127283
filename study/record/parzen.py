"""The parts of Optuna's TPE that take the time of a suggestion, with the same results up to rounding.

Optuna 5.0 goes through the normal distribution's logarithm value by value in Python, and compares the distributions of
all trials newer than the oldest that runs, which with many at once are nearly all, for each suggestion again.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.samplers._tpe.probability_distributions import _BatchedCategoricalDistributions
from optuna.search_space import IntersectionSearchSpace
from optuna.search_space.intersection import _calculate
from optuna.study import Study

Floats = NDArray[np.float64]


class Parzen(_ParzenEstimator):
    """A mixture of products of truncated normals and categoricals, a kernel a trial and one for the prior."""

    def log_pdf(self, samples_dict: dict[str, Floats]) -> Floats:
        """Log-density of each of N points, parameter -> [N]; [N]."""
        from scipy.special import logsumexp

        mixture = self._mixture_distribution
        log_density = np.log(mixture.weights)[np.newaxis]
        for values, kernels in zip(self._transform(samples_dict).T, mixture.distributions):
            log_density = log_density + _log_kernels(values, kernels)
        return np.asarray(logsumexp(log_density, axis=1))


def _log_kernels(values: Floats, kernels: Any) -> Floats:
    """Log-density of each of N values of a parameter under each of K kernels, or log-probability, if it is discrete."""
    if isinstance(kernels, _BatchedCategoricalDistributions):
        return np.asarray(np.log(kernels.weights[:, values.astype(int)].T))

    def scaled(bounds: Any) -> Floats:
        return np.asarray((bounds - kernels.mu) / kernels.sigma)

    of_range = _log_mass(scaled(kernels.adapted_low), scaled(kernels.adapted_high))
    scale = np.log if kernels.is_log else np.asarray
    points, half = values[:, np.newaxis], kernels.step / 2
    if half:
        return _log_mass(scaled(scale(points - half)), scaled(scale(points + half))) - of_range
    return -(scaled(scale(points)) ** 2) / 2 - math.log(math.sqrt(2 * math.pi)) - np.log(kernels.sigma) - of_range


def _log_mass(low: Floats, high: Floats) -> Floats:
    """Logarithm of a standard normal's probability between two bounds, taken in the tail where it is exact."""
    from scipy.special import log_ndtr

    right = low > 0
    low, high = np.where(right, -high, low), np.where(right, -low, high)
    log_below = log_ndtr(high)
    return np.asarray(log_below + np.log1p(-np.exp(log_ndtr(low) - log_below)))


class Intersection(IntersectionSearchSpace):
    """The parameters that all ended trials have, each trial looked at once; of one study."""

    def __init__(self) -> None:
        super().__init__(include_pruned=True)
        self._seen: set[int] = set()

    def calculate(self, study: Study, use_cache: bool = False) -> dict[str, BaseDistribution]:
        trials = study._get_trials(deepcopy=False, use_cache=use_cache)
        new = [trial for trial in trials if trial.number not in self._seen and trial.state.is_finished()]
        self._seen.update(trial.number for trial in new)
        self._search_space, _ = _calculate(new, self._include_pruned, self._search_space)
        return dict(sorted((self._search_space or {}).items()))
