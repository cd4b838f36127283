"""What was confirmed over fresh seeds, on the test set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results

PLACE = 26
APART = 0.12  # of a row, between dots of near values


class Configuration(NamedTuple):
    """A confirmed configuration, and a measure of each of its seeds that did not fail."""

    name: str
    values: NDArray[np.float64]
    failed: int = 0

    @property
    def label(self) -> str:
        """Its name, over how many seeds it was trained, and how many failed."""
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.name}\nn = {len(self.values)}{failed}"


def fits(results: Results) -> bool:
    return len(results.confirmed) > 0


def data(confirmed: pd.DataFrame, measure: str = "elbo") -> list[Configuration]:
    """Every configuration, in the order of the table.

    Args:
        confirmed: one row a (configuration, seed).
        measure: which of the metrics.
    """
    found = []
    for name, group in confirmed.groupby("configuration", sort=False):
        values = group[f"metrics.{measure}"].dropna().to_numpy(float)
        found.append(Configuration(str(name), values, len(group) - len(values)))
    return found


def draw(ax: Axes, found: list[Configuration], measure: str = "elbo") -> None:
    """Every seed as a dot, mean and standard deviation beside it, where there are two; one row a configuration."""
    for row, (_, values, _) in enumerate(found):
        dots: dict[str, Any] = {"color": style.BLUE, "s": 20, "alpha": 0.7, "linewidths": 0, "zorder": 3}
        ax.scatter(values, row + style.dodge(values, APART), **dots)
        if len(values):
            spread = values.std(ddof=1) if len(values) > 1 else None
            mark: dict[str, Any] = {"fmt": "D", "color": style.VERMILION, "markersize": 5, "capsize": 4, "zorder": 4}
            ax.errorbar(values.mean(), row + 0.3, xerr=spread, **mark)
    ax.set_yticks(range(len(found)), [configuration.label for configuration in found])
    ax.set_ylim(-0.6, len(found) - 0.4)
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.grid(axis="x", color="0.9")
    title = "Confirmed over n fresh seeds; diamond: mean ± standard deviation"
    ax.set(xlabel=style.label(measure, "test"), title=title)


def figure(results: Results) -> Figure:
    return _figure([results], data(results.confirmed, results.measure))


def compare(several: Sequence[Results]) -> Figure:
    rows = [
        found._replace(name=f"{results.name}, {found.name}")
        for results in several
        for found in data(results.confirmed, results.measure)
    ]
    figure = _figure(several, rows)
    [ax] = figure.axes
    ax.set_title(ax.get_title().replace("; ", "\n"))  # beside long names
    return figure


def _figure(several: Sequence[Results], found: list[Configuration]) -> Figure:
    figure, ax = style.one_axes(1.4 + 0.45 * len(found))
    draw(ax, found, several[0].measure)
    style.note(figure, several)
    return figure
