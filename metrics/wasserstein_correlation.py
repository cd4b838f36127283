"""Gaussian Wasserstein correlation: how far codes are from independent, by the distance that they would have to move.

The squared 2-Wasserstein distance between two Gaussians, of the codes' covariance and of its diagonal, as in the code
of Locatello et al. (2019); its closed form is that of Givens & Shortt, Michigan Mathematical Journal 1984.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics.checks import finite, real
from metrics.score import Score


def wasserstein_correlation(codes: ArrayLike, normalise: bool = False) -> float:
    """Squared distance between a Gaussian of the codes' covariance and that of independent ones with their variances.

    Args:
        codes: [N, Z].
        normalise: divide by the sum of the variances, so that a common scale of all codes does not matter.

    Returns:
        At least 0, in the square of the codes' unit. NaN where codes are not finite, or of a single image, and where
        constant ones are to be normalised.

    Raises:
        ValueError: the shape or type is wrong.
    """
    z = real("codes", codes, "[N, Z]").astype(np.float64)
    if len(z) == 1 or not finite(z):
        return math.nan
    covariance = np.atleast_2d(np.cov((z - z[0]).T))  # of which those of a constant are exactly 0
    distance, total = wasserstein_of(covariance), float(np.trace(covariance))
    if not normalise:
        return distance
    return distance / total if total > 0 else math.nan


def wasserstein_of(covariance: NDArray[np.float64]) -> float:
    """2 tr S - 2 tr (diag(S) S)^(1/2) of a covariance S, [Z, Z]; the root has the spectrum of a symmetric matrix's."""
    deviation = np.sqrt(np.diag(covariance))
    spectrum = np.linalg.eigvalsh(covariance * deviation * deviation[:, None])
    return float(max(0.0, 2 * np.trace(covariance) - 2 * np.sqrt(np.maximum(spectrum, 0)).sum()))


SCORES = (Score("wasserstein_correlation", wasserstein_correlation, 1, (0, math.inf), "less", ("codes",), 0.01),)
