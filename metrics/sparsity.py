"""How much of a code is used: exact zeros and small entries, Hoyer's measure, active units, the effective number.

Hoyer, "Non-negative matrix factorization with sparseness constraints", JMLR 2004.
Hurley & Rickard, "Comparing measures of sparsity", IEEE Transactions on Information Theory 2009.
Burda, Grosse & Salakhutdinov, "Importance weighted autoencoders", ICLR 2016.
Mathieu, Rainforth, Siddharth & Teh, "Disentangling disentanglement in variational autoencoders", ICML 2019.
Roy & Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from metrics.checks import real
from metrics.score import Score


def zero_fraction(codes: ArrayLike) -> float:
    """The share of the entries of codes [N, Z] that are exactly 0; small is not zero. NaN if some are not finite."""
    z = real("codes", codes, "[N, Z]")
    return float(np.mean(z == 0)) if np.isfinite(z).all() else math.nan


def small_fraction(codes: ArrayLike, threshold: float = 0.01) -> float:
    """The share of the entries of codes that are 0 or closer to it than the threshold: what a dense model has for
    zeros.

    Args:
        codes: [N, Z].
        threshold: in the codes' unit, which is the deviation of a standard prior.

    Returns:
        From 0 to 1; NaN if some codes are not finite.

    Raises:
        ValueError: codes are no matrix, or the threshold is not above 0.
    """
    if not threshold > 0:
        raise ValueError(f"threshold must be above 0, but is {threshold}; zero_fraction counts exact zeros")
    z = real("codes", codes, "[N, Z]")
    return float(np.mean(np.abs(z) < threshold)) if np.isfinite(z).all() else math.nan


def hoyer(codes: ArrayLike, normalise: bool = False) -> float:
    """Hoyer's sparsity, averaged over examples: 0 where all entries are equally large, 1 where one alone is not 0.

    Hoyer (2004), for each example: (sqrt(Z) - |z|_1 / |z|_2) / (sqrt(Z) - 1). The formula says nothing
    of an example with no entry but 0: it counts as 1, the sparsest. So a code that collapsed to 0 scores 1, and a
    value is to be read beside `active_units`.

    Args:
        codes: [N, Z].
        normalise: first divide each dimension by its standard deviation over the examples, so that scales that differ
            between dimensions are not taken for sparsity; Mathieu et al. (2019). A dimension that never
            varies tells nothing and counts as 0.

    Returns:
        From 0 to 1; NaN if some codes are not finite, or Z is 1, for which the formula is 0 / 0.

    Raises:
        ValueError: codes are no matrix.
    """
    z = real("codes", codes, "[N, Z]").astype(np.float64)
    size = z.shape[1]
    if size == 1 or not np.isfinite(z).all():
        return math.nan
    if normalise:
        varies = np.ptp(z, axis=0) > 0  # the computed deviation of a constant need not be exactly 0
        z = np.where(varies, z, 0) / np.where(varies, z.std(axis=0), 1)
    largest = np.abs(z).max(axis=1, keepdims=True)
    z = z / np.where(largest > 0, largest, 1)  # the measure ignores scale, and squares must not overflow
    l1, l2 = np.abs(z).sum(axis=1), np.sqrt(np.square(z).sum(axis=1))
    ratio = np.divide(l1, l2, out=np.ones_like(l1), where=l2 > 0)  # 1 is the ratio of the sparsest
    return float(np.clip((np.sqrt(size) - ratio) / (np.sqrt(size) - 1), 0, 1).mean())


def active_units(codes: ArrayLike, threshold: float = 0.01) -> float:
    """The number of dimensions whose posterior mean varies over the data; Burda et al. (2016), Section 5.2.

    Args:
        codes: posterior means, [N, Z]; codes that are something else, such as modes with exact zeros, have other
            variances.
        threshold: a unit is active when its variance (divisor N) exceeds this.

    Returns:
        A whole number; NaN if some codes are not finite, or N is 1, which has no variance.

    Raises:
        ValueError: codes are no matrix, or the threshold is negative.
    """
    if not threshold >= 0:
        raise ValueError(f"threshold must be a variance, 0 or more, but is {threshold}")
    z = real("codes", codes, "[N, Z]").astype(np.float64)
    if len(z) == 1 or not np.isfinite(z).all():
        return math.nan
    return int(np.count_nonzero(z.var(axis=0) > threshold))


def effective_latents(codes: ArrayLike) -> float:
    """The effective number of latents in use: exp of the entropy of the latents' shares of the variance over the data.

    As Roy & Vetterli (2007) count singular values. Z where all latents vary alike, 1 where one alone does, 0 where none
    does; no threshold is asked for, but as for `active_units` the scales of the latents matter.

    Args:
        codes: posterior means, [N, Z].

    Returns:
        From 0 to Z; NaN if some codes are not finite, or N is 1, which has no variance.

    Raises:
        ValueError: codes are no matrix.
    """
    z = real("codes", codes, "[N, Z]").astype(np.float64)
    if len(z) == 1 or not np.isfinite(z).all():
        return math.nan
    z = z / max(np.abs(z).max(), np.finfo(np.float64).tiny)  # only shares count, and squares must not overflow
    variance = np.where(np.ptp(z, axis=0) > 0, z.var(axis=0), 0)  # the computed one of a constant need not be exactly 0
    share = variance[variance > 0] / variance.sum()
    return float(np.exp(-(share * np.log(share)).sum())) if len(share) else 0.0


SCORES = (
    Score("zero_fraction", zero_fraction, 1, (0, 1), "more", ("codes",), 0.01),
    Score("small_fraction", small_fraction, 1, (0, 1), "more", ("codes",), 0.01),
    Score("hoyer", hoyer, 1, (0, 1), "more", ("codes",), 0.01),
    Score("active_units", active_units, 1, (0, math.inf), "more", ("codes",), 0.01),
    Score("effective_latents", effective_latents, 1, (0, math.inf), "more", ("codes",), 0.01),
)
