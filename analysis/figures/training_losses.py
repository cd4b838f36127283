"""The beginning of a training: its losses step by step, and on the validation images the two terms of the ELBO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results

PLACE = 12
STEPS = 4000  # that are shown, as Barrientos & Sootla (2018) do
WIDE = 3.0  # the largest value over the smallest, from which on a log scale says more
TERMS = {"reconstruction": "-log p(x given z)", "kl": "KL"}  # on the validation images


class Line(NamedTuple):
    """A number that falls in training, over the steps."""

    name: str
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


def fits(results: Results) -> bool:
    return bool((results.train.number == results.number).any()) if len(results.train) else False


def data(train: pd.DataFrame, curves: pd.DataFrame, number: int) -> tuple[list[Line], list[Line]]:
    """The losses of a trial, and the terms of its ELBO, negative, in its first steps.

    Args:
        train: one row a logged training step, of one study.
        curves: one row a report, of the same.
        number: of the trial.
    """
    logged = train[(train.number == number) & (train.step <= STEPS)].sort_values("step")
    reports = curves[(curves.number == number) & (curves.steps <= STEPS)].sort_values("steps")
    names = [name for name in logged if name.startswith("loss_") and logged[name].notna().any()]
    losses = [_line(name.removeprefix("loss_"), logged.step, logged[name]) for name in names]
    signs = {"reconstruction": -1.0, "kl": 1.0}
    terms = [
        _line(title, reports.steps, signs[name] * reports[name]) for name, title in TERMS.items() if name in reports
    ]
    return losses, [line for line in terms if len(line.values)]


def _line(name: str, steps: pd.Series, values: pd.Series) -> Line:
    known = values.notna().to_numpy()
    return Line(name, steps.to_numpy(np.int64)[known], values.to_numpy(float)[known])


def draw(ax: Axes, lines: Sequence[Line], title: str) -> None:
    """A colour for each line; on a log scale where that says more, else cut where few lie far above."""
    for index, line in enumerate(lines):
        colour, _ = style.run_style(index)
        ax.plot(line.steps, line.values, color=colour, linewidth=1.2, label=line.name)
    values = np.concatenate([line.values for line in lines])
    log = bool(values.min() > 0 and values.max() > WIDE * values.min())
    if log:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
    elif values.min() <= 0:
        style.limit_from_above(ax, values)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.set_xlabel("optimiser steps")
    ax.set_ylabel("nats / image, log scale" if log else "nats / image", fontsize="small")
    ax.set_title(title, fontsize="medium")
    ax.tick_params(labelsize="small")


def figure(results: Results) -> Figure:
    return _figure([results], f"The first steps of {results.which}")


def compare(several: Sequence[Results]) -> Figure:
    return _figure(several, "The first steps of the best trial of each run")


def _figure(several: Sequence[Results], title: str) -> Figure:
    found = [data(results.train, results.curves, results.number) for results in several]
    if len(several) == 1:
        lines = found[0][0]
    else:  # of each run its model's, in its colour
        lines = [losses[0]._replace(name=f"{r.label}, {losses[0].name}") for r, (losses, _) in zip(several, found)]
    plots = [("training loss", lines)]
    for term in TERMS.values():
        lines = [line for _, terms in found for line in terms if line.name == term]
        plots.append((f"validation {term}", lines))
    plots = [(label, lines) for label, lines in plots if len(lines) == len(several) or label == plots[0][0]]
    figure, axes = style.panels(len(plots), len(plots), 3.2)
    for ax, (label, lines) in zip(axes, plots):
        draw(ax, lines, label)
    where: dict[str, Any] = {"loc": "outside lower center", "ncols": 2, "frameon": False, "fontsize": "small"}
    figure.legend(*axes[0].get_legend_handles_labels(), **where)
    figure.suptitle(title)
    return figure
