"""One coordinate of a code at a time, moved through the values that it takes on the validation images."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results
from models.base import VAE
from models.latents import name_of

PLACE = 34
ROOM = 0.36  # of a tile's height, between two rows: for the values below the one and the mark above the other


class Traversal(NamedTuple):
    """Codes of which one coordinate a row moves, decoded."""

    pixels: NDArray[np.uint8]  # [R, F, ..., C, H, W]
    names: list[str]  # of the coordinates
    values: NDArray[np.float64]  # [R, F]

    @property
    def zeros(self) -> list[float | None]:
        """At which frame each row passes zero, a fraction between two; None for a row that does not."""
        return [_zero(row) for row in self.values]


def _zero(values: NDArray[np.float64]) -> float | None:
    if values[0] > values[-1]:
        falling = _zero(values[::-1])
        return None if falling is None else len(values) - 1 - falling
    if values[0] == values[-1] or not values[0] <= 0 <= values[-1]:
        return None
    return float(np.interp(0.0, values, np.arange(len(values))))


def fits(results: Results) -> bool:
    return True


def data(snapshot: dict[str, NDArray], model: VAE) -> Traversal:
    """What a snapshot of a model holds of it."""
    names = [name_of(model, int(j)) for j in snapshot["coordinates"]]
    return Traversal(snapshot["traversal"], names, snapshot["values"].astype(float))


def draw(ax: Axes, found: Traversal, title: str) -> None:
    """A row of pictures for each coordinate, the values below them, and a triangle where the coordinate is zero."""
    height, width = found.pixels.shape[-2:]
    width *= 2 if found.pixels.ndim == 6 else 1  # a pair is one tile
    gap = round(ROOM * height)
    style.draw_sheet(ax, found.pixels, title, found.names, gap)
    words: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": "x-small"}
    for row, (values, zero) in enumerate(zip(found.values, found.zeros)):
        top = gap + row * (height + gap)
        for frame, value in enumerate(values):
            ax.text(_centre(frame, width, gap), top + height, style.short(value), **words)
        if zero is not None:
            ax.plot(_centre(zero, width, gap), top - 0.1 * height, "v", color=style.VERMILION, markersize=4)


def _centre(frame: float, width: int, gap: int) -> float:
    """Where the middle of a tile is, in pixels."""
    return gap + frame * (width + gap) + width / 2 - 0.5


def figure(results: Results) -> Figure:
    figure, ax = style.one_axes(5.1)
    title = f"One coordinate of a code, smallest to largest value; triangle: zero\n{results.which}"
    draw(ax, data(results.snapshot, results.best.model), title)
    return figure
