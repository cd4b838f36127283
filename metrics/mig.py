"""The mutual information gap: whether one latent alone knows a factor.

Chen, Li, Grosse & Duvenaud, "Isolating sources of disentanglement in variational autoencoders", NeurIPS 2018, Section
4, with the estimator of Locatello et al. (2019): frequencies of 20 bins a latent. Chen et al. integrate over q(z|x)
instead, so that their values differ.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from metrics.checks import labelled
from metrics.discretised import BINS, discretise, entropy, mutual_information
from metrics.gaps import gaps
from metrics.score import Score


def mig(codes: ArrayLike, factors: ArrayLike, bins: int = BINS) -> float:
    """Mean over the factors of (I_1 - I_2) / H: the two largest informations of a latent, and the factor's entropy.

    Args:
        codes: [N, Z]; a single latent is compared with one that knows nothing.
        factors: classes, [N, K]; those with a single class are left out.
        bins: of each latent.

    Returns:
        From 0 to 1; what is in reach is less where a factor has more classes than there are bins. NaN where codes are
        not finite, or all factors have a single class.

    Raises:
        ValueError: a shape or type is wrong, or a class is no whole number.
    """
    known = labelled(codes, factors)
    if known is None:
        return math.nan
    information = mutual_information(discretise(known.codes, bins), known.factors)
    information = np.pad(information, ((0, 1), (0, 0)))  # a latent that knows nothing is never among two that do
    return float((gaps(information) / entropy(known.factors)).mean())


SCORES = (Score("mig", mig, 1, (0, 1), "more", ("codes", "factors"), 0.01),)
