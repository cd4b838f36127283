"""What more updates of the posterior's mode are worth: log-likelihood, or what else is compared, over their number.

As Park et al. (2019) plot it; of one run that varies the number, or of several that differ in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results
from models.savae import RefinedPosterior
from models.vlae import LaplacePosterior

PLACE = 29
SETTINGS = {LaplacePosterior: "updates", RefinedPosterior: "svi_steps"}  # by the posterior that has such
CONFIRMED = "log_likelihood"


class Points(NamedTuple):
    """A measure of every training, by the number of updates."""

    measure: str
    part: str  # of the data that it is taken on
    updates: NDArray[np.int64]  # [N]
    values: NDArray[np.float64]  # [N]


def _setting(results: Results) -> str | None:
    return SETTINGS.get(type(results.best.model.posterior_part))


def compares(results: Results) -> bool:
    return _setting(results) is not None


def fits(results: Results) -> bool:
    return compares(results) and len(np.unique(_points([results])[1].updates)) > 1


def data(frame: pd.DataFrame, setting: str, measure: str, part: str) -> Points:
    """Of the rows that have both.

    Args:
        frame: one row a training.
        setting: the hyperparameter that counts the updates.
        measure: which of the metrics.
        part: of the data.
    """
    columns = [f"params.{setting}", f"metrics.{measure}"]
    rows = frame[columns].dropna() if set(columns) <= {*frame} else pd.DataFrame(columns=columns)
    return Points(measure, part, rows[columns[0]].to_numpy(int), rows[columns[1]].to_numpy(float))


def _points(several: Sequence[Results]) -> tuple[str, Points]:
    """Those of several runs of one model together; confirmed ones where all runs have such, else complete trials."""
    setting = _setting(several[0])
    assert setting is not None
    if all(len(results.confirmed) for results in several):
        return setting, data(pd.concat([r.confirmed for r in several]), setting, CONFIRMED, "test")
    trials = pd.concat([results.trials for results in several])
    return setting, data(trials[trials.state == "COMPLETE"], setting, several[0].measure, "validation")


def draw(ax: Axes, runs: Sequence[tuple[str, Points]]) -> None:
    """Every training as a dot, and a line through the means, with their deviations where a number has several."""
    bars = ""
    for index, (name, found) in enumerate(runs):
        colour, marker = style.run_style(index)
        ax.scatter(found.updates, found.values, s=14, color=colour, alpha=0.5, linewidths=0)
        numbers = np.unique(found.updates)
        each = [found.values[found.updates == number] for number in numbers]
        spread = None
        if max(map(len, each)) > 1:
            spread, bars = [values.std(ddof=1) if len(values) > 1 else 0.0 for values in each], "; bars: sd"
        counts = sorted({len(values) for values in each})
        n = f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"
        means = [values.mean() for values in each]
        ax.errorbar(numbers, means, spread, color=colour, marker=marker, capsize=3, label=f"{name}, {n}")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="y", color="0.9")
    points = runs[0][1]
    ax.set(xlabel="updates", ylabel=style.label(points.measure, points.part))
    ax.set_title(f"{style.word(points.measure)} against the number of updates{bars}")
    ax.legend(frameon=False)


def figure(results: Results) -> Figure:
    return compare([results])


def compare(several: Sequence[Results]) -> Figure:
    models = list(dict.fromkeys(results.spec.title for results in several))
    by_model = [[results for results in several if results.spec.title == model] for model in models]
    figure, ax = style.one_axes(3.8)
    draw(ax, [(model, _points(runs)[1]) for model, runs in zip(models, by_model)])
    style.note(figure, several)
    return figure
