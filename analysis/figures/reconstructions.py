"""The first validation images, and what the best model makes of them."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results

PLACE = 5
draw = style.draw_sheet


def fits(results: Results) -> bool:
    return True


def data(snapshot: dict[str, NDArray]) -> NDArray[np.uint8]:
    """Originals above their reconstructions, [2, N, ..., C, H, W]."""
    return np.stack([snapshot["originals"], snapshot["reconstructions"]])


def figure(results: Results) -> Figure:
    figure, ax = style.one_axes(2.3)
    draw(ax, data(results.snapshot), f"Reconstructions, {results.which}", ["image", "model"])
    return figure
