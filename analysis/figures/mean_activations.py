"""What each latent's mean does over position, scale and rotation of sprites, with a line for each shape.

As Barrientos & Sootla (2018) judge whether latents are disentangled, after the figure of Chen et al. (2018).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results
from imagesets import PackedImages, Split
from imagesets.factors import FACTORS
from models.base import VAE
from models.latents import name_of
from study.trial.evaluation import ENCODED, evaluating
from study.trial.images import Images

PLACE = 50
SHOWN = {"shape": 3, "scale": 6, "orientation": 12, "pos_x": 8, "pos_y": 8}  # values of each factor, at most
SHAPES = (("square", "black", "-"), ("ellipse", style.ORANGE, "--"), ("heart", style.BLUE, "-."))
TITLES = ("position\nx across, y down", "scale", "rotation\n[rad]")
ACTIVE = 1e-2  # variance of a latent's mean over the images, from which on it is shown
MOST = 8  # latents


class Grid(NamedTuple):
    """Images of every combination of some values of the factors."""

    values: dict[str, NDArray[np.int64]]  # their numbers in FACTORS, in the order of the axes
    images: PackedImages  # the last factor running fastest


class Activations(NamedTuple):
    """Posterior means over a grid."""

    values: dict[str, NDArray[np.int64]]  # of each factor
    means: NDArray[np.float64]  # an axis for each factor, then the latents
    names: list[str]  # of the latents

    @property
    def active(self) -> list[int]:
        """The latents whose mean varies, most first, MOST of them at most; at least one."""
        variance = self.means.var(axis=tuple(range(self.means.ndim - 1)))
        falling = [int(j) for j in np.argsort(-variance)]
        return [j for j in falling if variance[j] > ACTIVE][:MOST] or falling[:1]


def fits(results: Results) -> bool:
    return [*results.spec.images.factors] == [*FACTORS]


def evenly(there: int, shown: int) -> NDArray[np.int64]:
    """Some of so many numbers from 0 on, evenly spaced: all, or as many as are shown."""
    return np.linspace(0, there - 1, min(there, shown)).round().astype(np.int64)


def grid(split: Split, shown: Mapping[str, int] = SHOWN) -> Grid:
    """Evenly spaced values among those that a data set has of each factor.

    Args:
        split: of a data set whose images are all combinations of values, in the order of `imagesets.factors`.
        shown: how many values of each factor, at most; the colour, which is always white, is left out.
    """
    assert isinstance(split.images, PackedImages)
    assert split.factors is not None
    there = [np.unique(numbers) for numbers in split.factors.T]
    sizes = [len(numbers) for numbers in there]
    assert math.prod(sizes) == len(split.images.rows)
    chosen = {name: evenly(len(numbers), shown.get(name, 1)) for name, numbers in zip(FACTORS, there)}
    index = np.ravel_multi_index(np.meshgrid(*chosen.values(), indexing="ij"), sizes).reshape(-1)
    values = {name: numbers[chosen[name]] for name, numbers in zip(FACTORS, there) if name in shown}
    return Grid(values, PackedImages(split.images.rows, split.images.image_shape, index))


def data(model: VAE, on: Grid) -> Activations:
    """The posterior means over a grid."""
    images = Images(Split(on.images))
    with evaluating(model, images):
        codes = torch.cat([model.codes(x) for x in images.batches(ENCODED)]).double().numpy()
    names = [name_of(model, j) for j in range(codes.shape[1])]
    return Activations(on.values, codes.reshape(*map(len, on.values.values()), -1), names)


def _over_places(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """[pos_x, pos_y, ...] of means whose axes are shape, scale, orientation, pos_x, pos_y, ..."""
    over: NDArray[np.float64] = means.mean(axis=(0, 1, 2))
    return over


def _over_values(means: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """[shape, values, ...] for scale and orientation, of the same."""
    return {"scale": means.mean(axis=(2, 3, 4)), "orientation": means.mean(axis=(1, 3, 4))}


def draw(axes: Sequence[Axes], found: Activations, latent: int) -> None:
    """A row: the means over the positions as a map, over scales and orientations as a line for each shape.

    All maps have the same colours, and all lines the same axis, which is that of the prior at least.
    """
    place, *curves = axes
    active, mu = found.means[..., found.active], found.means[..., latent]
    limit = float(np.abs(_over_places(active)).max())
    place.imshow(_over_places(mu).T, cmap=style.SIGNED, vmin=-limit, vmax=limit)
    place.set(xticks=[], yticks=[], ylabel=found.names[latent])
    limit = max(1.0, *(float(np.abs(lines).max()) for lines in _over_values(active).values()))
    for ax, (factor, lines) in zip(curves, _over_values(mu).items()):
        for line, shape in zip(lines, found.values["shape"]):
            name, colour, dashes = SHAPES[shape]
            ax.plot(FACTORS[factor][found.values[factor]], line, dashes, color=colour, label=name)
        ax.set_ylim(-1.05 * limit, 1.05 * limit)
        ax.tick_params(labelsize="x-small")


def draw_all(figure: FigureBase, found: Activations) -> None:
    """A row for each active latent, with the legend above and the colours beside."""
    axes = figure.subplots(len(found.active), len(TITLES), squeeze=False, sharex="col")
    for row, latent in zip(axes, found.active):
        draw(row, found, latent)
    for ax, title in zip(axes[0], TITLES):
        ax.set_title(title, fontsize="x-small")
    colours = axes[0, 0].images[0]
    figure.colorbar(colours, ax=axes[:, 0], location="left", aspect=40, shrink=0.9).set_label("posterior mean")


def picture(found: Activations, title: str) -> Figure:
    """The whole picture of one model."""
    figure = style.canvas(1.1 + 1.0 * len(found.active))
    draw_all(figure, found)
    legend(figure)
    figure.suptitle(title)
    return figure


def legend(figure: Figure) -> None:
    handles, labels = next(ax for ax in figure.axes if ax.lines).get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(SHAPES), frameon=False)


def figure(results: Results) -> Figure:
    found = data(results.best.model, grid(results.splits.train))
    return picture(found, f"Mean activations of the active latents, {results.which}")


def compare(several: Sequence[Results]) -> Figure:
    found = [data(results.best.model, grid(results.splits.train)) for results in several]
    rows = -(-len(several) // 2)
    figure = style.canvas(rows * (0.8 + 0.85 * max(len(each.active) for each in found)))
    for part, each, results in zip(figure.subfigures(rows, 2, squeeze=False).flat, found, several):
        draw_all(part, each)
        part.suptitle(results.name)
    legend(figure)
    return figure
