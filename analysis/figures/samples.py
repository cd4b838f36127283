"""Draws from the best model's prior, decoded."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results
from models.base import VAE
from study.trial import snapshot

PLACE = 6
draw = style.draw_sheet


def fits(results: Results) -> bool:
    return True


def data(model: VAE, rows: int = 6, columns: int = 10, seed: int = 0) -> NDArray[np.uint8]:
    """The same draws at each call, [rows, columns, ..., C, H, W]."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn = snapshot.pixels(model.sample(rows * columns))
    return drawn.reshape(rows, columns, *drawn.shape[1:])


def figure(results: Results) -> Figure:
    figure, ax = style.one_axes(4.2)
    draw(ax, data(results.best.model), f"Draws from the prior, decoded; {results.which}")
    return figure
