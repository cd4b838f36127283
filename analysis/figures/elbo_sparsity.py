"""ELBO, or what else a study compares its trials on, against the sparsity of codes."""

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

PLACE = 23
ZEROS, HOYER = "zero_fraction", "hoyer"


class Sparsity(NamedTuple):
    """Complete trials: a measure of their codes' sparsity, and what they are compared on."""

    sparsity_measure: str
    sparsity: NDArray[np.float64]
    values: NDArray[np.float64]
    front: NDArray[np.int64]  # indices of the trials that no other one beats on both, by sparsity


def fits(results: Results) -> bool:
    return _trials_of(results) > 1  # a single one is against nothing


def compares(results: Results) -> bool:
    return _trials_of(results) > 0


def _trials_of(results: Results) -> int:
    measure = _measure(results)
    return 0 if measure is None else len(data(results.trials, measure).values)


def _measure(results: Results) -> str | None:
    """The first objective that is no sparsity itself."""
    return next((objective for objective in results.spec.objectives if objective not in (ZEROS, HOYER)), None)


def data(trials: pd.DataFrame, measure: str = "elbo", sparsity_measure: str | None = None) -> Sparsity:
    """Complete trials where both are defined.

    Args:
        trials: one row a trial.
        measure: what stands against the sparsity.
        sparsity_measure: which one; None is exact zeros where the codes have any, else Hoyer's measure.
    """
    complete = trials[trials.state == "COMPLETE"]
    chosen = sparsity_measure or (ZEROS if has_zeros(trials) else HOYER)
    sparsity = complete[f"metrics.{chosen}"].to_numpy(float)
    values = complete[f"metrics.{measure}"].to_numpy(float)
    defined = np.isfinite(sparsity)
    sparsity, values = sparsity[defined], values[defined]
    beaten = [
        bool(((sparsity >= s) & (values >= v) & ((sparsity > s) | (values > v))).any())
        for s, v in zip(sparsity, values)
    ]
    kept = np.flatnonzero(~np.array(beaten, bool))
    return Sparsity(chosen, sparsity, values, kept[np.argsort(sparsity[kept])])


def has_zeros(trials: pd.DataFrame) -> bool:
    """Whether the codes of a complete trial have exact zeros."""
    return bool((trials.loc[trials.state == "COMPLETE", f"metrics.{ZEROS}"] > 0).any())


def draw(ax: Axes, found: Sparsity, measure: str = "elbo") -> None:
    """Dots, or triangles at the edge for what lies far below the others, and the front of those best in both."""
    _draw_front(ax, found, color=style.ORANGE, label="front: no trial is better in both")
    low = style.floor(found.values)
    style.limit(ax, found.values, low)
    shown, under = found.values >= low, found.values < low
    dots: dict[str, Any] = {"color": style.BLUE, "s": 24, "edgecolors": "white", "linewidths": 0.4}
    ax.scatter(found.sparsity[shown], found.values[shown], **dots, label="complete trial")
    if under.any():
        style.mark_below(ax, found.sparsity[under], color=style.BLUE, label="far below the others")
    _frame(ax, found.sparsity_measure, measure)


def _draw_front(ax: Axes, found: Sparsity, **look: Any) -> None:
    """The front as steps: between two of its trials nothing was trained, and up to the sparser one its value is had.

    A front of a single trial is none.
    """
    if len(found.front) > 1:
        sparsity, values = found.sparsity[found.front], found.values[found.front]
        ax.plot(sparsity, values, drawstyle="steps-pre", linewidth=1.5, zorder=2, **look)


def draw_compared(ax: Axes, runs: Sequence[tuple[str, Sparsity]], measure: str = "elbo") -> None:
    """Each run's trials in its colour and shape, with its own front."""
    for index, (name, found) in enumerate(runs):
        colour, marker = style.run_style(index)
        _draw_front(ax, found, color=colour)
        ax.scatter(
            found.sparsity,
            found.values,
            color=colour,
            marker=marker,
            s=24,
            edgecolors="white",
            linewidths=0.4,
            label=name,
            zorder=3,
        )
    _frame(ax, runs[0][1].sparsity_measure, measure)


def _frame(ax: Axes, sparsity_measure: str, measure: str) -> None:
    title = f"{style.word(measure)} against sparsity"
    ax.set(xlabel=style.word(sparsity_measure), ylabel=style.label(measure), title=title)
    ax.legend(frameon=False)


def figure(results: Results) -> Figure:
    figure, ax = style.one_axes(4.0)
    measure = _measure(results) or results.measure
    draw(ax, data(results.trials, measure), measure)
    style.note(figure, [results])
    return figure


def compare(several: Sequence[Results]) -> Figure:
    figure, ax = style.one_axes(4.0)
    measure = _measure(several[0]) or several[0].measure
    against = ZEROS if any(has_zeros(results.trials) for results in several) else HOYER  # one axis for all
    draw_compared(ax, [(r.name, data(r.trials, measure, against)) for r in several], measure)
    style.note(figure, several)
    return figure
