"""Modularity: whether a latent knows of one factor alone.

Ridgeway & Mozer, "Learning deep disentangled embeddings with the F-statistic loss", NeurIPS 2018, Section 3, with the
informations of Locatello et al. (2019).
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics.checks import labelled
from metrics.discretised import BINS, discretise, mutual_information
from metrics.score import Score


def modularity(codes: ArrayLike, factors: ArrayLike, bins: int = BINS) -> float:
    """Mean over all latents of one less the share of their information that is not on the factor they know best.

    Args:
        codes: [N, Z]; a latent that knows nothing counts as 0, so that dead latents lower the score.
        factors: classes, [N, K]; those with a single class are left out.
        bins: of each latent.

    Returns:
        From 0 to 1. NaN where codes are not finite, or fewer than two factors have two classes.

    Raises:
        ValueError: a shape or type is wrong, or a class is no whole number.
    """
    known = labelled(codes, factors)
    if known is None or known.factors.shape[1] == 1:
        return math.nan
    return float(modularity_of_latents(mutual_information(discretise(known.codes, bins), known.factors)).mean())


def modularity_of_latents(information: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 - (sum_k I_k^2 - max_k I_k^2) / ((K - 1) max_k I_k^2) of each latent, 0 where all are; [Z, K] -> [Z]."""
    squares = np.square(information)
    largest = squares.max(axis=1)
    others = squares.sum(axis=1) - largest
    knows = largest > 0
    share = np.divide(others, (information.shape[1] - 1) * largest, out=np.ones_like(others), where=knows)
    found: NDArray[np.float64] = np.where(knows, 1 - share, 0)
    return found


SCORES = (Score("modularity", modularity, 1, (0, 1), "more", ("codes", "factors"), 0.01),)
