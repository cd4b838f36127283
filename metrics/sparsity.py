"""How much of a code is used: exact zeros, Hoyer's measure, active units.

Hoyer, "Non-negative matrix factorization with sparseness constraints", JMLR 2004.
Hurley & Rickard, "Comparing measures of sparsity", IEEE Transactions on Information Theory 2009.
Burda, Grosse & Salakhutdinov, "Importance weighted autoencoders", ICLR 2016.
Mathieu, Rainforth, Siddharth & Teh, "Disentangling disentanglement in variational autoencoders", ICML 2019.
"""

import numpy as np
from numpy.typing import ArrayLike

from metrics.checks import matrix


def zero_fraction(codes: ArrayLike) -> float:
    """The share of the entries of codes [N, Z] that are exactly 0; small is not zero."""
    return float(np.mean(matrix("codes", codes, "[N, Z]") == 0))


def hoyer(codes: ArrayLike, normalise: bool = False) -> float:
    """Hoyer's sparsity, averaged over examples: 0 where all entries are equally large, 1 where one alone is not 0.

    Hoyer (2004), for each example: (sqrt(Z) - |z|_1 / |z|_2) / (sqrt(Z) - 1). The formula says nothing
    of an example with no entry but 0: it counts as 1, the sparsest. So a code that collapsed to 0 scores 1, and a
    value is to be read beside `active_units`.

    Args:
        codes: [N, Z], Z at least 2.
        normalise: first divide each dimension by its standard deviation over the examples, so that scales that differ
            between dimensions are not taken for sparsity; Mathieu et al. (2019). A dimension that never
            varies tells nothing and counts as 0.

    Raises:
        ValueError: codes are no finite matrix, or Z is 1.
    """
    z = matrix("codes", codes, "[N, Z]")
    size = z.shape[1]
    if size == 1:
        raise ValueError("codes must have at least 2 dimensions for Hoyer's sparsity, but have 1: it divides by zero")
    if normalise:
        varies = np.ptp(z, axis=0) > 0  # the computed deviation of a constant need not be exactly 0
        z = np.where(varies, z, 0) / np.where(varies, z.std(axis=0), 1)
    largest = np.abs(z).max(axis=1, keepdims=True)
    z = z / np.where(largest > 0, largest, 1)  # the measure ignores scale, and squares must not overflow
    l1, l2 = np.abs(z).sum(axis=1), np.sqrt(np.square(z).sum(axis=1))
    ratio = np.divide(l1, l2, out=np.ones_like(l1), where=l2 > 0)  # 1 is the ratio of the sparsest
    return float(np.clip((np.sqrt(size) - ratio) / (np.sqrt(size) - 1), 0, 1).mean())


def active_units(codes: ArrayLike, threshold: float = 0.01) -> int:
    """The number of dimensions whose posterior mean varies over the data; Burda et al. (2016), Section 5.2.

    Args:
        codes: posterior means, [N, Z], N at least 2; codes that are something else, such as modes with exact zeros,
            have other variances.
        threshold: a unit is active when its variance (divisor N) exceeds this.

    Raises:
        ValueError: codes are no finite matrix, N is 1, or the threshold is negative.
    """
    z = matrix("codes", codes, "[N, Z]")
    if len(z) == 1:
        raise ValueError("codes must hold at least 2 examples for a variance over the data, but hold 1")
    if not threshold >= 0:
        raise ValueError(f"threshold must be a variance, 0 or more, but is {threshold}")
    return int(np.count_nonzero(z.var(axis=0) > threshold))
