"""How much of the variance of confirmed numbers is the seed's, and how much the configuration's.

A one-way analysis of variance with random effects: of configurations, each over its seeds. Its interval is the exact
one of Searle (1971) for as many seeds each, taken at their mean number where some failed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from analysis.figures import style
from analysis.figures.results import Results
from analysis.tables import CONFIRMED

PLACE = 27
COVERED = 0.95  # by the interval


class Share(NamedTuple):
    """Share of a measure's variance that is the seed's."""

    measure: str
    share: float
    low: float  # of its interval
    high: float
    configurations: int
    seeds: float  # of a configuration, mean


def fits(results: Results) -> bool:
    return bool(data(results.confirmed))


def data(confirmed: pd.DataFrame) -> list[Share]:
    """Of every measure that varies, in the order of a table.

    Args:
        confirmed: one row a (configuration, seed). The defaults count once where a trial has drawn the same.
    """
    found = []
    for measure in CONFIRMED:
        if f"metrics.{measure}" in confirmed:
            groups = [values.to_numpy(float) for values in _values(confirmed, f"metrics.{measure}")]
            share = seed_share(groups)
            if share is not None:
                found.append(Share(measure, *share, len(groups), float(np.mean([len(group) for group in groups]))))
    return found


def _values(confirmed: pd.DataFrame, column: str) -> list[pd.Series]:
    """The values of each configuration that has at least two."""
    each = [group[column].dropna() for _, group in confirmed.groupby("configuration", sort=False)]
    different = {tuple(values): values for values in each if len(values) > 1}
    return list(different.values())


def seed_share(groups: Sequence[NDArray[np.float64]]) -> tuple[float, float, float] | None:
    """The variance within groups as a share of that within and between them, with its interval.

    None where there are fewer than two groups, or nothing varies.
    """
    if len(groups) < 2:
        return None
    sizes = np.array([len(group) for group in groups])
    n, k = sizes.sum(), len(groups)
    means = np.array([group.mean() for group in groups])
    grand = np.concatenate(list(groups)).mean()
    within = sum(((group - group.mean()) ** 2).sum() for group in groups) / (n - k)
    between = (sizes * (means - grand) ** 2).sum() / (k - 1)
    each = (n - (sizes**2).sum() / n) / (k - 1)  # seeds of a configuration
    if not within + between > 0:
        return None
    ratio = between / within if within > 0 else math.inf
    tail = (1 - COVERED) / 2
    upper, lower = stats.f.ppf(1 - tail, k - 1, n - k), stats.f.ppf(tail, k - 1, n - k)
    found = [1.0 / (1.0 + max(0.0, (f - 1) / each)) for f in (ratio, ratio / lower, ratio / upper)]
    return found[0], found[1], found[2]


def draw(ax: Axes, found: Sequence[Share]) -> None:
    """A bar for each measure, the seed's share first, with its interval."""
    places = np.arange(len(found))
    shares = np.array([each.share for each in found])
    errors = [[each.share - each.low for each in found], [each.high - each.share for each in found]]
    ax.barh(places, shares, color=style.ORANGE, xerr=np.maximum(errors, 0), capsize=3, label="seed")
    ax.barh(places, 1 - shares, left=shares, color=style.BLUE, alpha=0.35, label="configuration", zorder=0)
    ax.set_yticks(places, [style.word(each.measure) for each in found])
    ax.invert_yaxis()
    ax.set(xlim=(0, 1), xlabel=f"share of the variance, with the {COVERED:.0%} interval of the seed's")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)


def figure(results: Results) -> Figure:
    found = data(results.confirmed)
    figure, ax = style.one_axes(1.9 + 0.3 * len(found))
    draw(ax, found)
    many, seeds = max(each.configurations for each in found), max(each.seeds for each in found)
    figure.suptitle(f"Seed or configuration, of {many} over {style.short(seeds)} seeds each; {results.name}")
    return figure
