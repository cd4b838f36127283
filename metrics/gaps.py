"""The gap between the two latents that know most of a factor, which MIG and SAP are the means of."""

import numpy as np
from numpy.typing import NDArray


def gaps(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest score over the latents less the second largest, [Z, K] -> [K]; Z at least 2."""
    found: NDArray[np.float64] = np.diff(np.partition(scores, (-2, -1), axis=0)[-2:], axis=0)[0]
    return found
