"""Draws from the best model's prior, decoded, beside draws from the aggregated posterior, which it should equal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results
from models.base import VAE
from models.latents import sample_aggregated
from study.trial import snapshot
from study.trial.evaluation import evaluating
from study.trial.images import Images

PLACE = 32
READ = 500  # validation images, whose posteriors are aggregated
draw = style.draw_sheet


def fits(results: Results) -> bool:
    return True


def data(model: VAE, images: Images, rows: int = 7, columns: int = 6) -> NDArray[np.uint8]:
    """The same draws at each call: from the prior, then from the posterior of a validation image each.

    Args:
        model: on the images' device.
        images: of one split.
        rows, columns: of draws.

    Returns:
        [2, rows, columns, ..., C, H, W].
    """
    with evaluating(model, images):
        drawn = model.sample(rows * columns)
        aggregated = model.decode(sample_aggregated(model, next(images.batches(READ)), rows * columns))
    shown = snapshot.pixels(torch.stack([drawn, aggregated]))
    return shown.reshape(2, rows, columns, *shown.shape[2:])


def figure(results: Results) -> Figure:
    pixels = data(results.best.model, results.valid)
    figure, (left, right) = style.panels(2, 2, 4.3)
    draw(left, pixels[0], "from the prior")
    draw(right, pixels[1], "from the posteriors of images")
    figure.suptitle(f"Draws, decoded; {results.which}")
    return figure


def compare(several: Sequence[Results]) -> Figure:
    figure, axes = style.panels(len(several), 2, 3.9)
    for ax, results in zip(axes, several):
        draw(ax, data(results.best.model, results.valid)[0], results.name)
    figure.suptitle("Draws from the prior, decoded")
    return figure
