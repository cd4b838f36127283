"""Complete trials as lines through what they drew, in the colour of their first objective."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from analysis.figures import style
from analysis.figures.hyperparameters import drawn_by, values_of
from analysis.figures.results import Results

PLACE = 22
MOST = 9  # hyperparameters, for which there is room


class Coordinates(NamedTuple):
    """What complete trials drew, on axes from 0 to 1, and what came of it, worst first."""

    names: list[str]
    places: NDArray[np.float64]  # [N, names]; NaN of what a trial did not draw
    ticks: list[list[tuple[float, str]]]  # of each axis
    measured: NDArray[np.float64]  # [N]


def fits(results: Results) -> bool:
    found = data(results)
    return len(found.names) > 1 and len(found.measured) > 2


def data(results: Results) -> Coordinates:
    """Of the hyperparameters that the study drew, the first MOST that have a column."""
    trials = results.trials
    complete = trials[(trials.state == "COMPLETE") & trials[f"metrics.{results.measure}"].notna()]
    complete = complete.sort_values(f"metrics.{results.measure}")
    ranges = {n: d for n, d in results.spec.distributions().items() if f"params.{n}" in complete}
    ranges = dict(list(ranges.items())[:MOST])
    places = np.full((len(complete), len(ranges)), np.nan)
    for column, (name, distribution) in enumerate(ranges.items()):
        rows = drawn_by(complete, name)
        places[rows, column] = place(values_of(complete.loc[rows, f"params.{name}"], distribution), distribution)
    measured = complete[f"metrics.{results.measure}"].to_numpy(float)
    names = [_wrapped(name) + ("\n(log)" if getattr(of, "log", False) else "") for name, of in ranges.items()]
    return Coordinates(names, places, [ticks(of) for of in ranges.values()], measured)


def place(values: NDArray, distribution: BaseDistribution) -> NDArray[np.float64]:
    """Values of a range, from 0 at its lower end to 1 at its upper one; choices evenly spaced."""
    if isinstance(distribution, CategoricalDistribution):
        last = len(distribution.choices) - 1
        return np.array([list(distribution.choices).index(v) / max(last, 1) for v in values], float)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    scale = np.log if distribution.log else np.asarray
    low, high = scale(float(distribution.low)), scale(float(distribution.high))
    share: NDArray[np.float64] = (scale(values.astype(float)) - low) / ((high - low) or 1.0)
    return share


def ticks(distribution: BaseDistribution) -> list[tuple[float, str]]:
    """Where an axis has words: at its ends and in the middle, or at each choice."""
    if isinstance(distribution, CategoricalDistribution):
        choices = list(distribution.choices)
        return list(zip(place(np.array(choices, object), distribution).tolist(), map(_wrapped, map(str, choices))))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = float(distribution.low), float(distribution.high)
    middle = float(np.sqrt(low * high)) if distribution.log else (low + high) / 2
    return [(share, style.short(value)) for share, value in zip((0.0, 0.5, 1.0), (low, middle, high))]


def _wrapped(name: str) -> str:
    return name.replace("_", "_\n")


def draw(ax: Axes, found: Coordinates, measure: str = "elbo") -> None:
    """A line for each trial, the best one last and thick; an axis for each hyperparameter, then the objective."""
    low, high = style.floor(found.measured), found.measured.max()
    norm = Normalize(low, high if high > low else low + 1.0)
    colours = ScalarMappable(norm, colormaps[style.ORDERED])
    columns = np.arange(len(found.names) + 1)
    ends = norm(np.clip(found.measured, low, None))
    for rank, (places, end, value) in enumerate(zip(found.places, ends, found.measured)):
        best = rank == len(found.places) - 1
        ax.plot(columns, [*places, end], color=colours.to_rgba(value), linewidth=2.4 if best else 1.0, zorder=2 + best)
    for column, at in enumerate(found.ticks):
        ax.axvline(column, color=style.GREY, linewidth=0.8, zorder=1)
        for share, word in at:
            ax.annotate(
                word,
                (column, share),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize="x-small",
                zorder=5,
                bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "alpha": 0.75, "lw": 0},
            )
    ax.axvline(columns[-1], color="black", linewidth=0.8, zorder=1)
    ax.set_xticks(columns, [*found.names, style.word(measure)], fontsize="x-small")
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set(xlim=(-0.1, columns[-1] + 0.05), ylim=(-0.06, 1.06))
    bar = ax.figure.colorbar(colours, ax=ax, pad=0.02, extend="min" if (found.measured < low).any() else "neither")
    bar.set_label(style.label(measure))


def figure(results: Results) -> Figure:
    found = data(results)
    figure, ax = style.one_axes(3.8)
    draw(ax, found, results.measure)
    ax.set_title(f"What {len(found.measured)} complete trials drew; thick: the best")
    style.note(figure, [results])
    return figure
