"""The first validation images, and what the best model makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results

PLACE = 30
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


def compare(several: Sequence[Results]) -> Figure:
    """The same images by every run, with its latent size."""
    rows = [several[0].snapshot["originals"], *(results.snapshot["reconstructions"] for results in several)]
    names = [f"{results.name}\n{results.codes.shape[1]} latents" for results in several]
    figure, ax = style.one_axes(0.9 + 0.68 * len(rows))
    draw(ax, np.stack(rows), "Reconstructions of the same images by the best model of each run", ["image", *names])
    ax.tick_params(labelsize="small")
    return figure
