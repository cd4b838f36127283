"""What the parts of a conjoint model's code hold: each part of the codes, coloured by what is known of the pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results
from imagesets import backgrounds
from models.conjoint import Conjoint
from study.spec import StudySpec
from study.trial.images import Images

PLACE = 56
TITLES = {
    "z1": "z1, of the first image",
    "z2": "z2, of the second image",
    "zs": "zs, shared",
    "digit": "by digit",
    "style_1": "by the first background",
    "style_2": "by the second background",
    "primary": "by what is shared",
    "secondary_1": "by the first's own",
    "secondary_2": "by the second's own",
}


class Spaces(NamedTuple):
    """The parts of the codes of N pairs, in two dimensions each, and the factors of the pairs."""

    points: dict[str, NDArray[np.float64]]  # [N, 2], by the part
    factors: dict[str, NDArray[np.int64]]  # [N], by the factor


def fits(results: Results) -> bool:
    return isinstance(results.best.model, Conjoint) and results.valid.factors is not None


@torch.no_grad()
def data(model: Conjoint, images: Images, names: Sequence[str]) -> Spaces:
    """Of a part with more than two coordinates, the two directions in which its codes vary most.

    Args:
        model: in evaluation mode.
        images: of one split, with factors.
        names: of the factors.
    """
    assert images.factors is not None
    codes = torch.cat([model.codes(x) for x in images]).double().cpu().numpy()
    points = {part: _plane(codes[:, at]) for part, at in model.slices.items() if at.stop > at.start}
    return Spaces(points, {name: images.factors[:, j] for j, name in enumerate(names)})


def _plane(codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Codes [N, Z] in two dimensions: as they are, with zeros beside a single one, or on their principal axes."""
    if codes.shape[1] <= 2:
        return np.pad(codes, ((0, 0), (0, 2 - codes.shape[1])))
    centred = codes - codes.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    plane: NDArray[np.float64] = centred @ axes[:2].T
    return plane


def values(spec: StudySpec, factor: str) -> list[str]:
    """The names of a factor's values: a background's style, else its number."""
    if factor in ("style_1", "style_2"):
        styles = spec.dataset_options.get("styles", backgrounds.PAIR)
        return list(styles[int(factor[-1]) - 1])
    return [str(value) for value in range(spec.images.factors[factor])]


def draw(ax: Axes, points: NDArray[np.float64], factor: NDArray[np.int64]) -> PathCollection:
    """A dot for each pair, a colour for each value of the factor."""
    colours: dict[str, Any] = {"c": factor, "cmap": "tab10", "vmin": -0.5, "vmax": max(9, int(factor.max())) + 0.5}
    dots = ax.scatter(points[:, 0], points[:, 1], s=2, linewidths=0, rasterized=True, **colours)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_aspect("equal", "datalim")
    return dots


def draw_key(ax: Axes, dots: PathCollection, names: Sequence[str]) -> None:
    """Below a plot, which colour is which value of the factor, as far as there are dots of it."""
    shown = np.unique(np.asarray(dots.get_array(), dtype=np.int64))
    look: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 4, "markeredgewidth": 0}
    colours = [to_hex(tuple(dots.to_rgba(value))) for value in shown]
    ax.legend(
        handles=[Line2D([], [], color=colour, **look) for colour in colours],
        labels=[names[value] for value in shown],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.02),
        ncols=min(5, len(shown)),
        frameon=False,
        fontsize="x-small",
        handletextpad=0.1,
        columnspacing=0.8,
    )


def figure(results: Results) -> Figure:
    model = results.best.model
    assert isinstance(model, Conjoint)
    found = data(model, results.valid, list(results.spec.images.factors))
    figure = style.canvas(2.15 * len(found.points) + 0.8)
    grid = figure.subplots(len(found.points), len(found.factors), squeeze=False)
    for row, (part, points) in enumerate(found.points.items()):
        for column, (name, factor) in enumerate(found.factors.items()):
            dots = draw(grid[row][column], points, factor)
            if row == 0:
                grid[row][column].set_title(TITLES.get(name, f"by {name}"), fontsize="small")
            if row == len(found.points) - 1:
                draw_key(grid[row][column], dots, values(results.spec, name))
        grid[row][0].set_ylabel(TITLES[part], fontsize="small")
    figure.suptitle(f"Parts of the codes of validation pairs, {results.which}")
    return figure
