"""The ELBO of the best trial, or the furthest, over its training: on the training batches and on validation images."""

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
from analysis.figures.results import Results
from models.base import VAE
from models.hvae import HVAE

PLACE = 11
MOST_COLUMNS = 3  # of the legend, which stands above: no curve is hidden
LOSS, ELBO = "loss_elbo", "elbo"
OF_THE_ELBO = (VAE.loss, HVAE.loss)  # losses that are the ELBO and nothing else, but for free bits


class History(NamedTuple):
    """The ELBO at each report of a trial, nats an image."""

    steps: NDArray[np.int64]
    train: NDArray[np.float64]  # mean over the batches that were logged since the report before; NaN without any
    valid: NDArray[np.float64]


def fits(results: Results) -> bool:
    if LOSS not in results.train or ELBO not in results.curves or type(results.untrained).loss not in OF_THE_ELBO:
        return False
    return bool(np.isfinite(data(results.train, results.curves, results.number).train).any())


def data(train: pd.DataFrame, curves: pd.DataFrame, number: int) -> History:
    """Of one trial.

    Args:
        train: one row a logged training step, of one study.
        curves: one row a report, of the same.
        number: of the trial.
    """
    reports = curves[curves.number == number].sort_values("steps")
    logged = train[train.number == number]
    steps = reports.steps.to_numpy(np.int64)
    since = np.searchsorted(steps, logged.step.to_numpy(), side="right")  # `step` counts those before it
    means = (-logged[LOSS]).groupby(since).mean().reindex(range(len(steps)))
    return History(steps, means.to_numpy(float), reports[ELBO].to_numpy(float))


def draw(ax: Axes, runs: Sequence[tuple[str, History]]) -> None:
    """A colour for each run: training solid, validation dashed."""
    for index, (name, found) in enumerate(runs):
        colour, marker = style.run_style(index)
        look: dict[str, Any] = {"color": colour, "linewidth": 1.6, "marker": marker, "markersize": 3}
        ax.plot(found.steps, found.train, "-", label=f"{name}, training", **look)
        ax.plot(found.steps, found.valid, "--", label=f"{name}, validation", markerfacecolor="white", **look)
    values = np.concatenate([part for _, found in runs for part in (found.train, found.valid)])
    style.limit(ax, values, style.floor(values))
    style.say_below(ax, values)
    ax.set_xlim(left=0)
    ax.set(xlabel="optimiser steps", ylabel="ELBO [nats / image]")
    columns = len(runs) if len(runs) <= MOST_COLUMNS else 2
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 0.99), ncols=columns, frameon=False, fontsize="small")
    rows = math.ceil(2 * len(runs) / columns)
    ax.set_title("Training beside validation; in training with the KL's weight of the step", pad=10 + 13 * rows)


def figure(results: Results) -> Figure:
    return compare([results])


def compare(several: Sequence[Results]) -> Figure:
    figure, ax = style.one_axes(4.0)
    draw(ax, [(results.label, data(results.train, results.curves, results.number)) for results in several])
    style.note(figure, several)
    return figure
