"""What the parts of a conjoint model's code hold: each part of the codes, coloured by what is known of the pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results
from models.conjoint import Conjoint
from study.trial.images import Images

PLACE = 56
TITLES = {
    "z1": "z1, of the first image",
    "z2": "z2, of the second image",
    "zs": "zs, shared",
    "digit": "by digit",
    "primary": "by what is shared",
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


def draw(ax: Axes, points: NDArray[np.float64], factor: NDArray[np.int64]) -> None:
    """A dot for each pair, a colour for each value of the factor."""
    colours: dict[str, Any] = {"c": factor, "cmap": "tab10", "vmin": -0.5, "vmax": max(9, int(factor.max())) + 0.5}
    ax.scatter(points[:, 0], points[:, 1], s=2, linewidths=0, rasterized=True, **colours)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_aspect("equal", "datalim")


def figure(results: Results) -> Figure:
    model = results.best.model
    assert isinstance(model, Conjoint)
    found = data(model, results.valid, list(results.spec.images.factors))
    figure = style.canvas(2.15 * len(found.points) + 0.4)
    grid = figure.subplots(len(found.points), len(found.factors), squeeze=False)
    for row, (part, points) in enumerate(found.points.items()):
        for column, (name, factor) in enumerate(found.factors.items()):
            draw(grid[row][column], points, factor)
            if row == 0:
                grid[row][column].set_title(TITLES.get(name, f"by background {name[-1]}"), fontsize="small")
        grid[row][0].set_ylabel(TITLES[part], fontsize="small")
    figure.suptitle(f"Parts of the codes of validation pairs, {results.which}")
    return figure
