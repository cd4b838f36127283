"""Learning curves: the first objective of each trial over its training, and where ASHA stopped it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import UNFINISHED, Results
from analysis.tables import sound

PLACE = 10
MOST_VALUES = 4  # of a setting, that are told apart where runs are compared
MANY = 100  # curves; of more, lines would cover each other, and quantiles stand for them
BEST = 5  # of many, that are lines still
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Curve(NamedTuple):
    """A measure of one trial on the validation images over its training."""

    number: int
    state: str
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


class Band(NamedTuple):
    """Quantiles of many curves after each step, over those that have a value there."""

    steps: NDArray[np.int64]  # [R]
    counts: NDArray[np.int64]  # of curves, [R]
    quantiles: NDArray[np.float64]  # [5, R]


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
    """Number of the complete trial with the largest value of a measure, see `tables.sound`; None if none has one."""
    complete = sound(trials[(trials.state == "COMPLETE") & trials[f"metrics.{measure}"].notna()])
    return None if complete.empty else int(complete.loc[complete[f"metrics.{measure}"].idxmax(), "number"])


def are_many(curves: Sequence[Curve]) -> bool:
    """Whether bands stand for these curves."""
    return len(curves) > MANY and bool(np.isfinite(_values(curves)).any())


def band(curves: Sequence[Curve]) -> Band:
    """Of curves of which one at least has a value."""
    steps = np.concatenate([curve.steps for curve in curves])
    each = pd.Series(_values(curves), steps).dropna().groupby(level=0)
    found = each.quantile(list(QUANTILES)).unstack()
    return Band(found.index.to_numpy(np.int64), each.count().to_numpy(np.int64), found.to_numpy(float).T)


def draw(
    ax: Axes, curves: Sequence[Curve], rungs: Sequence[int], best_number: int | None, measure: str = "elbo"
) -> None:
    """Lines over steps; a cross where ASHA stopped a trial, dashed lines at its rungs.

    What ends far below the others has a triangle at the lower edge, black where it was stopped. Of more than MANY
    curves the best are lines, and bands stand for all.
    """
    if are_many(curves):
        _draw_many(ax, curves, rungs, measure)
        return
    low = style.floor(_values(curves))
    named: set[str] = set()

    def once(label: str) -> str:
        shown = f"_{label}" if label in named else label
        named.add(label)
        return shown

    below: dict[str, list[int]] = {}
    for curve in curves:
        if curve.number == best_number:
            look = (style.VERMILION, 2.2, f"best, trial {curve.number}", 4)
        elif curve.state == "COMPLETE":
            look = (style.BLUE, 1.2, "complete", 3)
        else:
            look = (style.GREY, 0.9, UNFINISHED.get(curve.state, "unfinished"), 2)
        colour, width, label, order = look
        dots: dict[str, Any] = {"marker": ".", "markersize": 3, "label": once(label)}
        ax.plot(curve.steps, curve.values, color=colour, linewidth=width, zorder=order, **dots)
        (step, value), stopped = last(curve), curve.state == "PRUNED"
        if value < low:
            below.setdefault("black" if stopped else colour, []).append(step)
        elif stopped:
            ax.plot(step, value, marker="x", color="black", markersize=5, linestyle="", zorder=5)
    for colour, steps in below.items():
        style.mark_below(ax, np.array(steps), color=colour, label=once("ends below"))
    for rung in rungs:
        ax.axvline(rung, color="black", linewidth=0.6, linestyle=(0, (4, 4)), label=once("rung"), zorder=1)
    _frame(ax, curves, measure)
    crosses = "; a cross marks where a trial was stopped" if any(line.get_marker() == "x" for line in ax.lines) else ""
    ax.set_title(f"Learning curves{crosses}", pad=22 + 16 * ((len(named) - 1) // 4))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 0.99), ncols=4, frameon=False)  # above: no curve is hidden


def _draw_many(ax: Axes, curves: Sequence[Curve], rungs: Sequence[int], measure: str) -> None:
    found = band(curves)
    lowest, lower, median, upper, highest = found.quantiles
    ax.fill_between(found.steps, lowest, highest, color=style.BLUE, alpha=0.18, linewidth=0, label="middle 90 %")
    ax.fill_between(found.steps, lower, upper, color=style.BLUE, alpha=0.35, linewidth=0, label="middle half")
    ax.plot(found.steps, median, color=style.BLUE, linewidth=1.6, label="median", zorder=3)
    complete = [curve for curve in curves if curve.state == "COMPLETE" and math.isfinite(last(curve)[1])]
    best = sorted(complete, key=lambda curve: last(curve)[1])[-BEST:]
    for curve in best:
        first = curve is best[-1]
        label = f"best, trial {curve.number}" if first else "next best" if curve is best[-2] else "_"
        colour, width = (style.VERMILION, 2.2) if first else (style.ORANGE, 1.0)
        ax.plot(curve.steps, curve.values, color=colour, linewidth=width, label=label, zorder=5 if first else 4)
    for rung in rungs:
        label = "rung" if rung == rungs[0] else "_"
        ax.axvline(rung, color="black", linewidth=0.6, linestyle=(0, (4, 4)), label=label, zorder=1)
    _frame(ax, curves, measure)
    low = max(style.floor(_values(curves)), float(lowest.min()))
    style.limit(ax, np.concatenate([lowest, highest, *(curve.values for curve in best)]), low)
    most, fewest = found.counts.max(), found.counts.min()
    n = f"{most:,}" if most == fewest else f"{most:,} to {fewest:,}"
    ax.set_title(f"Learning curves of {len(curves):,} trials\nbands: of those that report, n = {n}", pad=22 + 16)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 0.99), ncols=3, frameon=False)


def draw_compared(ax: Axes, runs: Sequence[tuple[str, list[Curve]]], measure: str = "elbo") -> None:
    """A colour for each run, or part of one: its best trial, which is the last, as a bold line, the others thin.

    Of more than MANY curves a band stands for the others.
    """
    names, banded = [], ""
    for index, (name, curves) in enumerate(runs):
        colour, marker = style.run_style(index)
        *others, best = curves
        if are_many(curves):
            found, banded = band(curves), "; bands: the middle 90 %"
            lowest, highest = found.quantiles[0], found.quantiles[-1]
            ax.fill_between(found.steps, lowest, highest, color=colour, alpha=0.2, linewidth=0, zorder=2)
            name = f"{name}, n = {len(curves):,}"
        else:
            for curve in others:
                ax.plot(curve.steps, curve.values, color=colour, linewidth=0.6, alpha=0.35, zorder=2)
        ax.plot(best.steps, best.values, color=colour, marker=marker, markersize=4, linewidth=2, label=name, zorder=4)
        names.append(name)
    _frame(ax, [curve for _, curves in runs for curve in curves], measure)
    columns = 4 if len(max(names, key=len)) < 24 else 2
    ax.set_title(f"Learning curves; bold: the best trial of each{banded}", pad=22 + 16 * ((len(runs) - 1) // columns))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 0.99), ncols=columns, frameon=False)


def by_value(name: str, curves: pd.DataFrame, trials: pd.DataFrame, measure: str) -> list[tuple[str, list[Curve]]]:
    """A run's curves under its name, or where its trials differ in one setting of few values, those of each value.

    Args:
        name: of the run.
        curves, trials, measure: as for `data`.
    """
    varied = [column for column in trials if column.startswith("params.") and trials[column].nunique(dropna=False) > 1]
    if len(varied) != 1 or trials[varied[0]].nunique() > MOST_VALUES:
        return [(name, data(curves, trials, measure))]
    setting = varied[0].removeprefix("params.")
    groups = [(value, group) for value, group in trials.groupby(varied[0]) if curves.number.isin(group.number).any()]
    return [
        (f"{name}, {setting} {value}", data(curves[curves.number.isin(group.number)], group, measure))
        for value, group in groups
    ]


def last(curve: Curve) -> tuple[int, float]:
    """Step and value of a curve's last report that has a value; NaN without one."""
    known = np.flatnonzero(np.isfinite(curve.values))
    return (int(curve.steps[known[-1]]), float(curve.values[known[-1]])) if len(known) else (0, math.nan)


def _values(curves: Sequence[Curve]) -> NDArray[np.float64]:
    return np.concatenate([curve.values for curve in curves])


def _frame(ax: Axes, curves: Sequence[Curve], measure: str) -> None:
    """Axes that one bad start does not flatten."""
    values = _values(curves)
    style.limit(ax, values, style.floor(values))
    style.say_below(ax, values)
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
    draw_compared(ax, [part for r in several for part in by_value(r.name, r.curves, r.trials, measure)], measure)
    style.note(figure, several)
    return figure
