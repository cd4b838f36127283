"""Iterative background transfer in pixels: each digit before each background, step by step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes

from analysis.figures import style, transfers
from analysis.figures.conjoint_latents import values
from analysis.figures.results import Results

PLACE = 58
fits, data = transfers.fits, transfers.data


def draw(ax: Axes, found: transfers.Chains, names: list[str]) -> Iterator[None]:
    """The digits, and below them a row for each background; yields after each step.

    Args:
        ax: to draw on.
        found: from `data`.
        names: of the backgrounds.
    """
    for step, second in enumerate(found.second):
        ax.clear()
        style.draw_sheet(ax, np.concatenate([found.first[None], second]), "", ["digit", *names])
        ax.set_title(f"step {step} of {len(found.second) - 1}", fontsize="medium")
        yield


def animation(results: Results) -> style.Animation:
    found = transfers.of(results)
    figure, ax = style.one_axes(0.75 + 0.56 * (1 + found.second.shape[1]))
    figure.suptitle(f"Background transfer, {results.which}")
    names = values(results.spec, "style_2")
    return style.Animation(list(style.rendered(figure, draw(ax, found, names))), transfers.MILLISECONDS)
