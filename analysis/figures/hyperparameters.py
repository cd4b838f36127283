"""The first objective of complete trials against each hyperparameter that the study drew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from analysis.figures import style
from analysis.figures.results import Results
from study.record.tables import as_text
from study.spec import StudySpec

PLACE = 20
COLUMNS = 3


class Parameter(NamedTuple):
    """One drawn hyperparameter: complete trials with their measure, and where the stopped ones were."""

    name: str
    distribution: BaseDistribution
    values: NDArray  # of the complete trials
    measured: NDArray[np.float64]
    stopped: NDArray  # values of the trials that were stopped or failed


def fits(results: Results) -> bool:
    several = len(results.trials) > 1  # of a single trial there is nothing to compare
    return several and any(len(found.measured) for found in data(results.trials, results.spec))


def data(trials: pd.DataFrame, spec: StudySpec) -> list[Parameter]:
    """What the study drew, in the order of its space, with its first objective."""
    found = []
    for name, distribution in spec.distributions().items():
        column = f"params.{name}"
        if column in trials:
            rows = trials[drawn_by(trials, name)]
            complete, others = rows[rows.state == "COMPLETE"], rows[rows.state != "COMPLETE"]
            values, stopped = (values_of(part[column], distribution) for part in (complete, others))
            measured = complete[f"metrics.{spec.objectives[0]}"].to_numpy(float)
            found.append(Parameter(name, distribution, values, measured, stopped))
    return found


def drawn_by(trials: pd.DataFrame, name: str) -> NDArray[np.bool_]:
    """Which trials drew a hyperparameter: some are drawn in some trials only."""
    drew = trials["drawn"] if "drawn" in trials else [name] * len(trials)
    return np.array([name in names.split(", ") for names in drew], bool)


def values_of(column: pd.Series, distribution: BaseDistribution) -> NDArray:
    """A column as numbers, or as the choices that it holds, None among them."""
    if not isinstance(distribution, CategoricalDistribution):
        return column.dropna().to_numpy(float)
    named = {as_text(choice): choice for choice in distribution.choices}  # a column of several types is text
    values = [named.get(value, value) if isinstance(value, str) else value for value in column]
    return np.array([None if pd.isna(value) else value for value in values], object)


def lowest(drawn: Sequence[Parameter]) -> float:
    """The smallest value that the plots show, of all trials; NaN without any."""
    return style.floor(np.concatenate([parameter.measured for parameter in drawn] or [np.zeros(0)]))


def below(drawn: Sequence[Parameter], low: float) -> int:
    """How many complete trials lie below that: as many as in the plot that has the most."""
    return max((int((parameter.measured < low).sum()) for parameter in drawn), default=0)


def draw(ax: Axes, parameter: Parameter, low: float = -math.inf) -> None:
    """Complete trials as dots, or where they lie below `low` as triangles at the edge.

    The others, whose numbers do not compare, are ticks on the axis.
    """
    values, stopped, drawn = parameter.values, parameter.stopped, parameter.distribution
    if isinstance(drawn, CategoricalDistribution):
        choices = list(drawn.choices)
        values, stopped = (np.array([choices.index(v) for v in part], float) for part in (values, stopped))
        ax.set_xticks(range(len(choices)), [str(choice).replace("_", "_\n") for choice in choices], fontsize="small")
        ax.set_xlim(-0.5, len(choices) - 0.5)
    elif isinstance(drawn, FloatDistribution | IntDistribution):
        _draw_range(ax, drawn)
    shown, under = parameter.measured >= low, parameter.measured < low
    dots: dict[str, Any] = {"color": style.BLUE, "edgecolors": "white", "linewidths": 0.4, "zorder": 3}
    ax.scatter(values[shown], parameter.measured[shown], s=18, **dots)
    if under.any():
        style.mark_below(ax, values[under], color=style.BLUE)
    height = np.full(len(stopped), 0.02)
    ax.plot(stopped, height, "|", color=style.GREY, transform=ax.get_xaxis_transform(), markersize=7)
    log = isinstance(drawn, FloatDistribution | IntDistribution) and drawn.log
    ax.set_xlabel(f"{parameter.name} (log scale)" if log else parameter.name)


def _draw_range(ax: Axes, drawn: FloatDistribution | IntDistribution, margin: float = 0.05) -> None:
    low, high = drawn.low, drawn.high
    ticks = np.geomspace(low, high, 3) if drawn.log else np.linspace(low, high, 3)
    if drawn.log:
        ax.set_xscale("log")
        ax.set_xlim(low * (low / high) ** margin, high * (high / low) ** margin)
    else:
        ax.set_xlim(low - margin * (high - low), high + margin * (high - low))
    ax.set_xticks(ticks, [f"{tick:.2g}" if tick < 10 else f"{tick:.0f}" for tick in ticks], fontsize="small")
    for label, side in zip(ax.get_xticklabels(), ("left", "center", "right")):  # clear of those of the plot beside
        label.set(horizontalalignment=side)
    ax.xaxis.set_minor_locator(NullLocator())


def draw_all(figure: Figure, drawn: Sequence[Parameter], measure: str = "elbo") -> None:
    """A plot for each parameter, side by side."""
    axes = figure.subplots(_rows(drawn), COLUMNS, sharey=True, squeeze=False)
    low = lowest(drawn)
    style.limit(axes.flat[0], np.concatenate([parameter.measured for parameter in drawn]), low)
    for ax, parameter in zip(axes.flat, drawn):
        draw(ax, parameter, low)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes.flat[len(drawn) :]:
        ax.set_visible(False)
    figure.supylabel(style.label(measure), fontsize="medium")
    title = f"{style.word(measure)} of complete trials"
    if any(len(parameter.stopped) for parameter in drawn):
        title += "; ticks: what the others had drawn"
    if under := below(drawn, low):
        title += f"\ntriangles: {under} complete {'trial' if under == 1 else 'trials'} far below the others"
    figure.suptitle(title, fontsize="large")


def _rows(drawn: Sequence[Parameter]) -> int:
    return -(-len(drawn) // COLUMNS)


def figure(results: Results) -> Figure:
    drawn = data(results.trials, results.spec)
    figure = style.canvas(0.5 + 1.55 * _rows(drawn))
    draw_all(figure, drawn, results.measure)
    style.note(figure, [results])
    return figure
