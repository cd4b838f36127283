"""What was confirmed over the latent size: ELBO, or what else a study compares its trials on, and accuracies.

As the replication of Variational Sparse Coding plots them (Alfo5123, 2019): preset `vsc-mnist-latents`.
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

PLACE = 28
SIZE, ACCURACY = "params.latent", "accuracy"


class BySize(NamedTuple):
    """A measure of each latent size over its seeds."""

    sizes: NDArray[np.int64]  # [K], ascending
    means: NDArray[np.float64]  # [K]
    deviations: NDArray[np.float64]  # [K], NaN of a single seed


def fits(results: Results) -> bool:
    return by_size_alone(results.confirmed)


def by_size_alone(confirmed: pd.DataFrame) -> bool:
    """Whether the configurations of a run differ in their latent size and in nothing else."""
    varied = [name for name in confirmed if name.startswith("params.") and confirmed[name].nunique(dropna=False) > 1]
    return varied == [SIZE]


def data(confirmed: pd.DataFrame, measure: str = "elbo") -> BySize:
    """Means and deviations over seeds of what did not fail; sizes without a value are left out.

    Args:
        confirmed: one row a (configuration, seed) of one run. The defaults have the seeds of all others, and count once
            where a trial has their size, too.
        measure: which of the metrics.
    """
    each = confirmed.drop_duplicates([SIZE, "repeat"]).groupby(SIZE)[f"metrics.{measure}"]
    found = pd.DataFrame({"mean": each.mean(), "deviation": each.std(ddof=1)}).dropna(subset="mean")
    return BySize(found.index.to_numpy(int), found["mean"].to_numpy(float), found["deviation"].to_numpy(float))


def draw(ax: Axes, runs: Sequence[tuple[str, BySize]], measure: str = "elbo") -> None:
    """A line for each run, with its deviation over seeds as a bar."""
    for index, (name, found) in enumerate(runs):
        colour, marker = style.run_style(index)
        spread = np.nan_to_num(found.deviations)
        ax.errorbar(found.sizes, found.means, spread, color=colour, marker=marker, markersize=4, capsize=2, label=name)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="y", color="0.9")
    ax.set_ylabel(style.label(measure, "test"))


def figure(results: Results) -> Figure:
    return compare([results])


def compare(several: Sequence[Results]) -> Figure:
    shown = [several[0].measure]
    if all(results.confirmed[f"metrics.{ACCURACY}"].notna().any() for results in several) and ACCURACY not in shown:
        shown.append(ACCURACY)
    figure = style.canvas(3.0 * len(shown))
    axes = figure.subplots(len(shown), sharex=True, squeeze=False)[:, 0]
    for ax, measure in zip(axes, shown):
        ax.spines[["top", "right"]].set_visible(False)
        draw(ax, [(_named(results), data(results.confirmed, measure)) for results in several], measure)
    axes[0].set_title("Over the latent size; bars: standard deviation over n fresh seeds")
    axes[0].legend(frameon=False)
    axes[-1].set_xlabel("latents")
    style.note(figure, several)
    return figure


def _named(results: Results) -> str:
    return f"{results.name}, n = {results.confirmed['repeat'].nunique()}"
