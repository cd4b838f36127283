"""Iterative background transfer in the shared space, amid the codes of pairs by their digit."""

from __future__ import annotations

from analysis.figures import style, transfers
from analysis.figures.results import Results

PLACE = 59
fits, data, draw = transfers.fits, transfers.in_space, transfers.draw


def animation(results: Results) -> style.Animation:
    return transfers.animation(results, "zs", "Background transfer in zs; colours: the digit")
