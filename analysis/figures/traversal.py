"""One coordinate of a code at a time, moved through the values that it takes on the validation images."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results

PLACE = 7
draw = style.draw_sheet


def fits(results: Results) -> bool:
    return True


def data(snapshot: dict[str, NDArray]) -> tuple[NDArray[np.uint8], list[str]]:
    """The decoded codes, [R, F, ..., C, H, W], and what each row moves."""
    return snapshot["traversal"], [f"z {j}" for j in snapshot["coordinates"]]


def figure(results: Results) -> Figure:
    figure, ax = style.one_axes(5.2)
    pixels, rows = data(results.snapshot)
    draw(ax, pixels, f"One coordinate of a code, smallest to largest value; {results.which}", rows)
    return figure
