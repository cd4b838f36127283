"""How much of the first objective's variance each drawn hyperparameter explains, by functional ANOVA.

Hutter, Hoos & Leyton-Brown, "An efficient approach for assessing hyperparameter importance" (ICML 2014), as Optuna has
it; the forest that it rests on is random, hence the spread over seeds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.search_space import intersection_search_space
from optuna.trial import TrialState

from analysis.figures import style
from analysis.figures.results import Results

PLACE = 21
FEWEST = 6  # complete trials, below which a forest has nothing to learn from
FORESTS, TREES = 5, 32
MOST = 300  # trials that a forest learns from; its time grows faster than their number


class Importance(NamedTuple):
    """Shares of the variance, which add up to 1 over the hyperparameters, the largest mean first."""

    names: list[str]
    shares: NDArray[np.float64]  # [FORESTS, names]
    trials: int  # that are complete
    learnt: int  # of them, by each forest


def fits(results: Results) -> bool:
    complete = _complete(results.opened.study)
    values = {trial.values[0] for trial in complete}
    return len(complete) >= FEWEST and len(values) > 1 and len(intersection_search_space(complete)) > 1


def _complete(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])


def data(study: optuna.Study) -> Importance:
    """Of what every complete trial drew, from complete trials alone; of very many, each forest learns from its own."""
    complete = _complete(study)
    names = list(intersection_search_space(complete))
    found = [
        get_param_importances(
            _some(study, complete, seed),
            evaluator=FanovaImportanceEvaluator(n_trees=TREES, seed=seed),
            params=names,
            target=lambda trial: trial.values[0],
        )
        for seed in range(FORESTS)
    ]
    shares = np.array([[each[name] for name in names] for each in found])
    order = np.argsort(-shares.mean(0), kind="stable")
    return Importance([names[i] for i in order], shares[:, order], len(complete), min(len(complete), MOST))


def _some(study: optuna.Study, complete: list[optuna.trial.FrozenTrial], seed: int) -> optuna.Study:
    """The study, or one of MOST of its complete trials at random."""
    if len(complete) <= MOST:
        return study
    chosen = np.random.default_rng(seed).choice(len(complete), MOST, replace=False)
    part = optuna.create_study(directions=study.directions)
    part.add_trials(complete[i] for i in sorted(chosen))
    return part


def draw(ax: Axes, found: Importance, measure: str = "elbo") -> None:
    """A bar for each hyperparameter, with its range over the forests: a deviation could reach below 0."""
    places, means = np.arange(len(found.names)), found.shares.mean(0)
    reach = np.abs(np.stack([found.shares.min(0), found.shares.max(0)]) - means)
    bars: dict[str, Any] = {"color": style.BLUE, "ecolor": "black", "capsize": 3}
    ax.barh(places, means, xerr=reach, **bars)
    ax.set_yticks(places, found.names)
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    ax.set_xlabel(f"share of the variance of the {style.word(measure)}, fANOVA")
    some = "" if found.learnt == found.trials else f" of {found.learnt}"
    ax.set_title(f"Importance in {found.trials:,} complete trials; lines: range over {len(found.shares)} forests{some}")


def figure(results: Results) -> Figure:
    found = data(results.opened.study)
    figure, ax = style.one_axes(1.3 + 0.32 * len(found.names))
    draw(ax, found, results.measure)
    style.note(figure, [results])
    return figure
