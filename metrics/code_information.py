"""Mean mutual information between codes: how much the latents repeat each other, not only linearly.

As in the code of Locatello et al. (2019), with the bins of MIG.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from metrics.checks import finite, real
from metrics.discretised import BINS, discretise, mutual_information
from metrics.score import Score


def code_information(codes: ArrayLike, bins: int = BINS) -> float:
    """Mutual information of two latents, the mean over all pairs, in nats.

    Frequencies of a sample are never quite independent, so that independent codes have about (bins - 1)^2 / 2N of it.

    Args:
        codes: [N, Z].
        bins: of each latent, as in `mig`.

    Returns:
        From 0 to log(bins). NaN where codes are not finite, or there is a single latent.

    Raises:
        ValueError: the shape or type is wrong.
    """
    z = real("codes", codes, "[N, Z]")
    if z.shape[1] == 1 or not finite(z):
        return math.nan
    cells = discretise(z, bins)
    information = mutual_information(cells, cells)
    return float(information[~np.eye(len(information), dtype=bool)].mean())


SCORES = (Score("code_information", code_information, 1, (0, math.log(BINS)), "less", ("codes",), 0.01),)
