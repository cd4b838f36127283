"""Samplers of Optuna that a study may name besides TPE, so that they go on after a death and say nothing by themselves.

GP (Gaussian processes) learns of complete trials alone, those that ASHA stopped are nothing to it. CMA-ES takes the
last report of a stopped trial for its end; it keeps what it has learned in the study, and leaves categories to TPE.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Container
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

import searchspaces
from study.spec import StudySpec


def excerpt(study: Study, seen: Callable[[Container[TrialState] | None], list[FrozenTrial]]) -> Study:
    """The study as a sampler shall see it.

    Args:
        study: the whole of it.
        seen: trials of some states, of all with None, in the order of their numbers.
    """

    def get_trials(
        deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return seen(states)

    made = copy.copy(study)
    made._get_trials = get_trials  # type: ignore[method-assign]
    return made


class Gp(optuna.samplers.GPSampler):
    """Optuna's, which of a long history takes MOST complete trials: the best half of them, and the newest.

    A suggestion takes time with the cube of their number.
    """

    MOST = 200

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> Any:
        return super().sample_relative(self._excerpt(study), trial, search_space)

    def _excerpt(self, study: Study) -> Study:
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(complete) <= self.MOST:
            return study
        best = sorted(complete, key=lambda each: each.values[0], reverse=True)[: self.MOST // 2]
        if len(study.directions) > 1:
            best = study.best_trials[: self.MOST // 2]
        kept = {each.number for each in best}
        newest = [each.number for each in complete if each.number not in kept][len(best) - self.MOST :]
        chosen = kept.union(newest)

        def seen(states: Container[TrialState] | None) -> list[FrozenTrial]:
            trials = study.get_trials(deepcopy=False, states=states)
            return [each for each in trials if each.state != TrialState.COMPLETE or each.number in chosen]

        return excerpt(study, seen)


class CmaEs(optuna.samplers.CmaEsSampler):
    """Optuna's, which does not warn at each trial that it reads no constraint: README.md has it."""

    def after_trial(self, *told: Any) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Constraints have been set", UserWarning)
            super().after_trial(*told)


def cmaes(seed: int, startup: int) -> CmaEs:
    """CMA-ES over the numbers that every trial draws; the rest is TPE's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return CmaEs(
            seed=seed,
            independent_sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup),
            warn_independent_sampling=False,
            consider_pruned_trials=True,  # else what was learned at a trial that ASHA stopped would be lost
        )


def gp(seed: int, startup: int) -> Gp:
    """Gaussian processes over what every trial draws."""
    return Gp(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)


def left_to_others(spec: StudySpec) -> list[str]:
    """What gp and cmaes leave to another sampler: what only some trials draw, and of cmaes the categories."""
    ways = [way.drawn for way in searchspaces.branches(spec.draw)]
    always = set[str].intersection(*(set(way) for way in ways))
    drawn = {name: distribution for way in ways for name, distribution in way.items()}
    return [
        name
        for name, distribution in drawn.items()
        if name not in always or (spec.sampler == "cmaes" and isinstance(distribution, CategoricalDistribution))
    ]
