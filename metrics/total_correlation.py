"""Gaussian total correlation: how far codes are from independent, as far as their covariance says.

Watanabe, "Information theoretical analysis of multivariate correlation", IBM Journal 1960; of a Gaussian with the
codes' covariance, as Locatello et al. (2019) take it, Section 5.1.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics.checks import finite, real, scaled
from metrics.score import Score


def total_correlation(codes: ArrayLike) -> float:
    """KL from the product of the latents' marginals to a Gaussian with the codes' mean and covariance, in nats.

    A regularised model has less of it in sampled codes than in mean codes: say which they are.

    Args:
        codes: [N, Z]; a constant latent is independent of everything, and takes no part.

    Returns:
        At least 0; infinite where one code is a linear function of others, such as a copy. NaN where codes are not
        finite, or of a single image.

    Raises:
        ValueError: the shape or type is wrong.
    """
    z = real("codes", codes, "[N, Z]").astype(np.float64)
    if len(z) == 1 or not finite(z):
        return math.nan
    z = z[:, np.ptp(z, axis=0) > 0]
    return total_correlation_of(np.atleast_2d(np.cov(scaled(z).T))) if z.shape[1] else 0.0


def total_correlation_of(covariance: NDArray[np.float64]) -> float:
    """1/2 (sum log diag S - log det S) of a covariance S with a positive diagonal, [Z, Z]; it ignores scales."""
    deviation = np.sqrt(np.diag(covariance))
    spectrum = np.linalg.eigvalsh(covariance / deviation / deviation[:, None])
    if spectrum[0] <= len(spectrum) * np.finfo(np.float64).eps:  # its rounding error
        return math.inf
    return float(max(0.0, -np.log(spectrum).sum() / 2))


SCORES = (Score("total_correlation", total_correlation, 1, (0, math.inf), "less", ("codes",), 0.01),)
