"""Iterative background transfer in the second image's private space, amid the codes of pairs by its background."""

from __future__ import annotations

from analysis.figures import style, transfers
from analysis.figures.results import Results

PLACE = 60
PART = "z2"
data, draw = transfers.in_space, transfers.draw


def fits(results: Results) -> bool:
    if not transfers.fits(results):
        return False
    at = results.best.model.slices[PART]
    return at.stop > at.start


def animation(results: Results) -> style.Animation:
    return transfers.animation(results, PART, "Background transfer in z2; colours: the second background")
