"""ASHA's rungs: what the trials had reached there, and which of them it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results
from study.spec.text import counted

PLACE = 24
APART = 0.05  # of a column, between marks of near values


class Rung(NamedTuple):
    """The trials that reported at a rung, by what became of them; the last one is the full budget."""

    step: int
    went_on: NDArray[np.float64]  # a measure of those that went on, or came to their end
    stopped: NDArray[np.float64]  # of those that were stopped there


def fits(results: Results) -> bool:
    return bool(data(results.curves, results.trials, results.spec.rungs, results.spec.steps, results.measure))


def data(
    curves: pd.DataFrame, trials: pd.DataFrame, rungs: Sequence[int], budget: int, measure: str = "elbo"
) -> list[Rung]:
    """The rungs that a trial has reached, and the full budget; empty where there are no rungs.

    Args:
        curves: one row a report, of one study.
        trials: one row a trial, of the same.
        rungs: steps, ascending.
        budget: steps of a full trial.
        measure: what they were compared on.
    """
    last, pruned = trials.set_index("number").steps, trials.set_index("number").state == "PRUNED"
    found = []
    for step in [*rungs, budget] if rungs else ():
        at = curves[curves.steps == step]
        stopped = (at.number.map(pruned) & (at.number.map(last) == step)).to_numpy(bool)
        values = at[measure].to_numpy(float)
        if len(at):
            found.append(Rung(step, values[~stopped], values[stopped]))
    return found


def lowest(each: Sequence[NDArray[np.float64]]) -> float:
    """The smallest value that is shown: none lies far below the others of its rung; NaN without any.

    All rungs together spread too wide for that: what is far below at the first is near what all had there.
    """
    floors = [floor for values in each if np.isfinite(floor := style.floor(values))]
    return min(floors, default=float("nan"))


def draw(ax: Axes, rungs: Sequence[Rung], measure: str = "elbo") -> None:
    """A column for each rung: those that went on as dots, those that were stopped as crosses beside them."""
    each = [np.concatenate(rung[1:]) for rung in rungs]
    every = np.concatenate(each)
    low = lowest(each)
    style.limit(ax, every, low)
    looks: dict[int, dict[str, Any]] = {
        -1: {"color": style.BLUE, "marker": "o", "markersize": 5, "label": "went on, or complete"},
        1: {"color": style.VERMILION, "marker": "x", "markersize": 6, "label": "stopped there"},
    }
    labels = []
    for column, (step, *both) in enumerate(rungs):
        for (side, look), values in zip(looks.items(), both):
            place = np.full(len(values), column + 0.14 * side)
            shown = values >= low
            apart = place[shown] + style.dodge(values[shown], APART)
            ax.plot(apart, values[shown], linestyle="", alpha=0.75, **{**look, "label": "_"})
            style.mark_below(ax, place[values < low], color=look["color"], label="_")
        stopped = f", {len(both[1])} stopped" if len(both[1]) else ""
        labels.append(f"{step:,} steps\n{counted(sum(map(len, both)), 'trial')}{stopped}")
    for look in looks.values():
        ax.plot([], [], linestyle="", **look)
    ax.set_xticks(range(len(rungs)), labels)
    ax.set_xlim(-0.6, len(rungs) - 0.4)
    ax.grid(axis="y", color="0.9")
    title = "What ASHA compared at its rungs" + ("; triangles: far below the others" if (every < low).any() else "")
    ax.set(ylabel=style.label(measure), title=title)
    ax.legend(frameon=False)


def figure(results: Results) -> Figure:
    rungs = data(results.curves, results.trials, results.spec.rungs, results.spec.steps, results.measure)
    figure, ax = style.one_axes(3.8)
    draw(ax, rungs, results.measure)
    style.note(figure, [results])
    return figure
