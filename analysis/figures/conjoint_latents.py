"""What the parts of a conjoint model's code hold: each part of the codes, coloured by what is known of the pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import ListedColormap, to_hex
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


COLOURS = ListedColormap(style.CLASSES)  # of a factor's values, from 0 on


class Plane(NamedTuple):
    """Two directions in a space of codes."""

    centre: NDArray[np.float64]  # [Z]
    axes: NDArray[np.float64]  # [2, Z]
    shares: list[float]  # of the codes' variance, that of each direction; empty where the plane is the whole space

    def points(self, codes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Codes [..., Z] in the plane, [..., 2]."""
        found: NDArray[np.float64] = (codes - self.centre) @ self.axes.T
        return found

    def names(self, part: str) -> tuple[str, str]:
        """Of its axes."""
        if not self.shares:
            return f"{part} 0", f"{part} 1" if len(self.centre) > 1 else ""
        first, second = self.shares
        return f"principal axis 1 of {part}, {first:.0%} of variance", f"principal axis 2, {second:.0%}"


class Spaces(NamedTuple):
    """The parts of the codes of N pairs, in two dimensions each, and the factors of the pairs."""

    planes: dict[str, Plane]  # by the part
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
    each = {part: codes[:, at] for part, at in model.slices.items() if at.stop > at.start}
    planes = {part: plane(codes) for part, codes in each.items()}
    points = {part: planes[part].points(codes) for part, codes in each.items()}
    return Spaces(planes, points, {name: images.factors[:, j] for j, name in enumerate(names)})


def plane(codes: NDArray[np.float64]) -> Plane:
    """The plane of codes [N, Z] of two, with zeros beside a single one; of more their first two principal axes."""
    size = codes.shape[1]
    if size <= 2:
        return Plane(np.zeros(size), np.eye(2, size), [])
    centre = codes.mean(0)
    _, deviations, axes = np.linalg.svd(codes - centre, full_matrices=False)
    return Plane(centre, axes[:2], (deviations**2 / np.square(deviations).sum())[:2].tolist())


def values(spec: StudySpec, factor: str) -> list[str]:
    """The names of a factor's values: a background's style, else its number."""
    if factor in ("style_1", "style_2"):
        styles = spec.dataset_options.get("styles", backgrounds.PAIR)
        return list(styles[int(factor[-1]) - 1])
    return [str(value) for value in range(spec.images.factors[factor])]


def draw(ax: Axes, points: NDArray[np.float64], factor: NDArray[np.int64]) -> PathCollection:
    """A dot for each pair, a colour for each value of the factor."""
    colours: dict[str, Any] = {"c": factor, "cmap": COLOURS, "vmin": -0.5, "vmax": COLOURS.N - 0.5}
    dots = ax.scatter(points[:, 0], points[:, 1], s=5, linewidths=0, rasterized=True, **colours)
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


def _across_and_up(on: Plane, part: str) -> str:
    """What the two directions of a plot are."""
    if on.shares:
        return "principal axes: " + ", ".join(f"{n} {share:.0%}" for n, share in zip("12", on.shares)) + " of variance"
    across, up = on.names(part)
    return f"{across} across" + (f", {up} up" if up else "")


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
        grid[row][0].set_ylabel(f"{TITLES[part]}\n{_across_and_up(found.planes[part], part)}", fontsize="small")
    figure.suptitle(f"Parts of the codes of {len(points):,} validation pairs, {results.which}")
    return figure
