"""The way from one validation image to another, by a straight line between their codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results
from models.base import VAE
from models.latents import interpolate
from study.trial import snapshot
from study.trial.evaluation import evaluating
from study.trial.images import Images

PLACE = 33
ROWS, STEPS = 6, 8


def fits(results: Results) -> bool:
    return len(results.valid) >= 2 * ROWS


def data(model: VAE, images: Images, rows: int = ROWS) -> NDArray[np.uint8]:
    """An image, its reconstruction, the way, the other's reconstruction and itself, [R, STEPS + 2, ..., C, H, W]."""
    x = next(images.batches(2 * rows))
    a, b = x[:rows], x[rows:]
    with evaluating(model, images):
        way = interpolate(model, a, b, STEPS)
    return snapshot.pixels(torch.cat([a[None], way, b[None]])).swapaxes(0, 1)


def draw(ax: Axes, pixels: NDArray[np.uint8], title: str) -> None:
    """A row for each pair, with the share of the way below."""
    shares = [f"{share:.0%}" for share in np.linspace(0, 1, pixels.shape[1] - 2)]
    style.draw_sheet(ax, pixels, title, columns=["image", *shares, "image"])
    ax.tick_params(labelsize="x-small")


def figure(results: Results) -> Figure:
    figure, ax = style.one_axes(4.5)
    draw(ax, data(results.best.model, results.valid), f"From image to image in the space of codes, {results.which}")
    return figure


def compare(several: Sequence[Results]) -> Figure:
    figure, axes = style.panels(len(several), 1, 1.9)
    for ax, results in zip(axes, several):
        draw(ax, data(results.best.model, results.valid, 2), results.name)
    figure.suptitle("From image to image in the space of codes")
    return figure
