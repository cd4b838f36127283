"""Learning curves: the first objective of each trial over its training, and where ASHA stopped it."""

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

PLACE = 1


class Curve(NamedTuple):
    """A measure of one trial on the validation images over its training."""

    number: int
    state: str
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


def fits(results: Results) -> bool:
    return len(results.curves) > 0


def data(curves: pd.DataFrame, trials: pd.DataFrame, measure: str = "elbo") -> list[Curve]:
    """A curve for each trial that made a report, the best complete one last.

    Args:
        curves: one row a report, of one study.
        trials: one row a trial, of the same.
        measure: which of the metrics.
    """
    rows = trials.set_index("number")
    found = [
        Curve(int(number), rows.state[number], group.steps.to_numpy(), group[measure].to_numpy(float))
        for number, group in curves.sort_values("steps").groupby("number")
    ]
    best_number = best_complete(trials, measure)
    return sorted(found, key=lambda curve: curve.number == best_number)


def best_complete(trials: pd.DataFrame, measure: str = "elbo") -> int | None:
    """Number of the complete trial with the largest value of a measure; None if none has one."""
    complete = trials[(trials.state == "COMPLETE") & trials[f"metrics.{measure}"].notna()]
    return None if complete.empty else int(complete.loc[complete[f"metrics.{measure}"].idxmax(), "number"])


def draw(
    ax: Axes, curves: Sequence[Curve], rungs: Sequence[int], best_number: int | None, measure: str = "elbo"
) -> None:
    """Lines over steps; a cross where ASHA stopped a trial, dashed lines at its rungs."""
    named: set[str] = set()

    def once(label: str) -> str:
        shown = f"_{label}" if label in named else label
        named.add(label)
        return shown

    for curve in curves:
        if curve.number == best_number:
            look = (style.VERMILION, 2.2, f"best, trial {curve.number}", 4)
        elif curve.state == "COMPLETE":
            look = (style.BLUE, 1.2, "complete", 3)
        else:
            look = (style.GREY, 0.9, "stopped early", 2)
        colour, width, label, order = look
        dots: dict[str, Any] = {"marker": ".", "markersize": 3, "label": once(label)}
        ax.plot(curve.steps, curve.values, color=colour, linewidth=width, zorder=order, **dots)
        if curve.state == "PRUNED":
            ax.plot(curve.steps[-1], curve.values[-1], marker="x", color="black", markersize=5, linestyle="", zorder=5)
    for rung in rungs:
        ax.axvline(rung, color="black", linewidth=0.6, linestyle=(0, (4, 4)), label=once("rung"), zorder=1)
    _frame(ax, curves, measure)
    ax.set_title("Learning curves; a cross marks where a trial was stopped", pad=22)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 0.99), ncols=4, frameon=False)  # above: no curve is hidden


def draw_compared(ax: Axes, runs: Sequence[tuple[str, list[Curve]]], measure: str = "elbo") -> None:
    """A colour for each run: its best trial, which is the last, as a bold line, the others thin."""
    for index, (name, curves) in enumerate(runs):
        colour, marker = style.run_style(index)
        for curve in curves[:-1]:
            ax.plot(curve.steps, curve.values, color=colour, linewidth=0.6, alpha=0.35, zorder=2)
        best = curves[-1]
        ax.plot(best.steps, best.values, color=colour, marker=marker, markersize=4, linewidth=2, label=name, zorder=4)
    _frame(ax, [curve for _, curves in runs for curve in curves], measure)
    ax.set_title("Learning curves; bold: the best trial of each run", pad=22 + 16 * ((len(runs) - 1) // 4))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 0.99), ncols=4, frameon=False)


def _frame(ax: Axes, curves: Sequence[Curve], measure: str) -> None:
    """Axes that one bad start does not flatten."""
    values = np.concatenate([curve.values for curve in curves])
    values = values[np.isfinite(values)]
    if len(values):
        low, high = np.quantile(values, 0.05), values.max()
        height = (high - low) or 1.0
        ax.set_ylim(low - 0.05 * height, high + 0.08 * height)
    ax.set_xlim(left=0)
    ax.set(xlabel="optimiser steps", ylabel=style.label(measure))


def figure(results: Results) -> Figure:
    figure, ax = style.one_axes(4.0)
    best_number = best_complete(results.trials, results.measure)
    curves = data(results.curves, results.trials, results.measure)
    draw(ax, curves, results.spec.rungs, best_number, results.measure)
    style.note(figure, [results])
    return figure


def compare(several: Sequence[Results]) -> Figure:
    figure, ax = style.one_axes(4.0)
    measure = several[0].measure
    draw_compared(ax, [(r.spec.name, data(r.curves, r.trials, measure)) for r in several], measure)
    style.note(figure, several)
    return figure
