"""What importance weights say: the log-likelihood, its error, and how many of the draws it rests on.

Burda, Grosse & Salakhutdinov, "Importance weighted autoencoders", ICLR 2016.
Kong, Liu & Wong, "Sequential imputations and Bayesian missing data problems", JASA 1994.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics.checks import real
from metrics.score import Score


def log_likelihood(log_weights: ArrayLike) -> NDArray[np.float64]:
    """Importance-weighted estimate of log p(x), Burda et al. (2016), Eq. 8; a lower bound in expectation.

    Args:
        log_weights: log p(x, z) - log r(z | x) of S draws from r for each of B images, in nats, [S, B].

    Returns:
        The logarithm of the mean weight of each image, in nats, [B]: minus infinity where all weights are 0, NaN where
        one is NaN or infinite.

    Raises:
        ValueError: log_weights are no matrix of real numbers.
    """
    largest_B, w_SB = _weights(log_weights)
    with np.errstate(divide="ignore"):  # of weights that are all 0
        log_mean_B: NDArray[np.float64] = largest_B + np.log(w_SB.mean(axis=0))
    return log_mean_B


def effective_sample_size(log_weights: ArrayLike) -> NDArray[np.float64]:
    """(sum w)^2 / sum w^2 of each image, Kong et al. (1994): S when all weights are equal, 1 when one has it all.

    Args:
        log_weights: log importance weights in nats, up to a constant for each image, [S, B].

    Returns:
        Number of draws, from 1 to S, [B]; NaN where all weights are 0, or one is NaN or infinite.

    Raises:
        ValueError: log_weights are no matrix of real numbers.
    """
    _, w_SB = _weights(log_weights)
    with np.errstate(invalid="ignore"):  # of weights that are all 0
        size_B: NDArray[np.float64] = np.square(w_SB.sum(axis=0)) / np.square(w_SB).sum(axis=0)
    return size_B


def _weights(log_weights: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest log-weight of each image, [B], and all weights in units of it, [S, B].

    A weight may be 0, its logarithm minus infinity. Where one is NaN or infinite, nothing of that image is known: NaN.
    """
    log_w_SB = real("log_weights", log_weights, "[S, B]").astype(np.float64)
    largest_B = log_w_SB.max(axis=0)  # NaN where one is
    largest_B[largest_B == math.inf] = math.nan
    return largest_B, np.exp(log_w_SB - np.where(largest_B == -math.inf, 0, largest_B))


def standard_error(log_weights: ArrayLike) -> NDArray[np.float64]:
    """Standard error of `log_likelihood` from its finite number of draws, by the delta method.

    It is the standard error of the mean weight over the mean weight, sqrt((S / ESS - 1) / (S - 1)), and as the
    effective sample size it knows only of the weights that were drawn: where a large one is rare, both are too hopeful.

    Args:
        log_weights: log importance weights in nats, up to a constant for each image, [S, B].

    Returns:
        In nats, [B]; NaN for a single draw, where all weights are 0, or one is NaN or infinite.

    Raises:
        ValueError: log_weights are no matrix of real numbers.
    """
    size_B = effective_sample_size(log_weights)
    samples = len(np.asarray(log_weights))
    if samples == 1:
        return np.full_like(size_B, math.nan)
    error_B: NDArray[np.float64] = np.sqrt(np.maximum(samples / size_B - 1, 0) / (samples - 1))
    return error_B


SCORES = (
    Score("log_likelihood", log_likelihood, 1, (-math.inf, math.inf), "more", ("weights",), 0.01),
    Score("effective_sample_size", effective_sample_size, 1, (1, math.inf), "more", ("weights",), 0.01),
    Score("standard_error", standard_error, 1, (0, math.inf), "less", ("weights",), 0.01),
)
