"""What importance weights say: the log-likelihood, and how many of the draws it rests on.

Burda, Grosse & Salakhutdinov, "Importance weighted autoencoders", ICLR 2016.
Kong, Liu & Wong, "Sequential imputations and Bayesian missing data problems", JASA 1994.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics.checks import matrix


def log_likelihood(log_weights: ArrayLike) -> NDArray[np.float64]:
    """Importance-weighted estimate of log p(x), Burda et al. (2016), Eq. 8; a lower bound in expectation.

    Args:
        log_weights: log p(x, z) - log r(z | x) of S draws from r for each of B images, in nats, [S, B].

    Returns:
        The logarithm of the mean weight of each image, in nats, [B].

    Raises:
        ValueError: log_weights are no finite matrix.
    """
    log_w_SB = matrix("log_weights", log_weights, "[S, B]")
    largest_B = log_w_SB.max(axis=0)
    log_mean_B: NDArray[np.float64] = largest_B + np.log(np.exp(log_w_SB - largest_B).mean(axis=0))
    return log_mean_B


def effective_sample_size(log_weights: ArrayLike) -> NDArray[np.float64]:
    """(sum w)^2 / sum w^2 of each image, Kong et al. (1994): S when all weights are equal, 1 when one has it all.

    Args:
        log_weights: log importance weights in nats, up to a constant for each image, [S, B].

    Returns:
        Number of draws, from 1 to S, [B].

    Raises:
        ValueError: log_weights are no finite matrix.
    """
    log_w_SB = matrix("log_weights", log_weights, "[S, B]")
    w_SB = np.exp(log_w_SB - log_w_SB.max(axis=0))
    size_B: NDArray[np.float64] = np.square(w_SB.sum(axis=0)) / np.square(w_SB).sum(axis=0)
    return size_B
