"""Bits per dimension: what a log-likelihood says of images of different sizes on one scale.

Theis, van den Oord & Bethge, "A note on the evaluation of generative models", ICLR 2016, Section 3.1.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def bits_per_dimension(
    nats: ArrayLike, image_shape: Sequence[int], *, kind: str, dequantised: bool
) -> NDArray[np.float64]:
    """Bits for each pixel of each channel that a code of the images' levels would take; less is better.

    A probability of levels p(v) takes -log2 p(v) / D. A density over dequantised images x = (v + u) / 256, u uniform in
    [0, 1)^D, bounds it: log2 p(v) >= E_u log2 p(x) - 8 D, the 8 bits being the scale of x. So a model to which all 256
    levels are alike takes 8 bits either way. A density of the logits of x counts as what it is of x, its
    log-determinant included, as `models.likelihoods.LogitLikelihood` gives it.

    Args:
        nats: log-likelihoods, or bounds on them, of one image each, of any shape; their mean as well.
        image_shape: all axes of an image, such as [C, H, W]; D is their product.
        kind: what the study says its ELBO is, which goes for log-likelihoods of that model too; only of a "bound" are
            there bits.
        dequantised: whether the images were, so that the nats are of a density; else they are of a probability.

    Returns:
        Bits, of the shape of `nats`; NaN of NaN, and infinitely many of minus infinity.

    Raises:
        ValueError: the nats are of no probability of levels and no density of dequantised ones.
    """
    if kind != "bound":
        raise ValueError(f"there are no bits per dimension of a {kind}: it bounds no log-probability of the images")
    values = np.asarray(nats, np.float64)
    bits: NDArray[np.float64] = -values / (math.prod(image_shape) * math.log(2)) + (8 if dequantised else 0)
    return bits
