"""What the best model decodes from the codes of a plane: the manifold of images that a code of two can reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results
from models.base import VAE
from study.trial import snapshot

PLACE = 37
CELLS = 17  # each way
SHARE = 0.98  # of the codes, in each coordinate, between the first and the last cell


class Manifold(NamedTuple):
    """Images decoded from a grid of codes."""

    pixels: NDArray[np.uint8]  # [CELLS, CELLS, ..., C, H, W], the second coordinate falling from row to row
    axes: NDArray[np.float64]  # the values of each coordinate, ascending, [2, CELLS]


def fits(results: Results) -> bool:
    return results.best.model.prior().event_shape == (2,)


def data(model: VAE, codes: NDArray[np.float64]) -> Manifold:
    """Evenly spaced between the quantiles of some codes: a VampPrior's are not where a standard normal is.

    Args:
        model: with a code of two.
        codes: of images, [N, 2].
    """
    low, high = np.quantile(codes, [(1 - SHARE) / 2, (1 + SHARE) / 2], axis=0)
    axes = np.linspace(low, high, CELLS, axis=1)
    grid = np.stack(np.meshgrid(axes[0], axes[1][::-1]), -1)  # [row, column, coordinate]
    decoded = model.decode(torch.as_tensor(grid.reshape(-1, 2), dtype=torch.float32))
    return Manifold(snapshot.pixels(decoded).reshape(CELLS, CELLS, *decoded.shape[1:]), axes)


def draw(ax: Axes, found: Manifold, title: str) -> None:
    """The images without gaps, with the values of the codes at the axes."""
    across, up = (_labels(axis) for axis in found.axes)
    style.draw_sheet(ax, found.pixels, title, up[::-1], gap=0, columns=across)
    ax.tick_params(labelsize="small")
    ax.set(xlabel="z 0", ylabel="z 1")


def _labels(axis: NDArray[np.float64]) -> list[str]:
    """Of every fourth part of an axis, to a thousandth of its length, so that what is nearly 0 is 0."""
    decimals = 3 - math.ceil(math.log10(np.ptp(axis) or 1.0))
    each = CELLS // 4
    return [style.short(round(float(z), decimals)) if i % each == 0 else "" for i, z in enumerate(axis)]


def figure(results: Results) -> Figure:
    figure, ax = style.one_axes(6.2)
    draw(ax, data(results.best.model, results.codes), f"Images decoded from the codes of a plane, {results.which}")
    return figure


def compare(several: Sequence[Results]) -> Figure:
    figure, axes = style.panels(len(several), 2, 3.7)
    for ax, results in zip(axes, several):
        draw(ax, data(results.best.model, results.codes), results.name)
    figure.suptitle("Images decoded from the codes of a plane")
    return figure
