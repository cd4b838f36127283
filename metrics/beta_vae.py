"""beta-VAE's score: whether the differences between images that share a factor tell which one it is.

Higgins, Matthey, Pal, Burgess, Glorot, Botvinick, Mohamed & Lerchner, "beta-VAE: learning basic visual concepts with a
constrained variational framework", ICLR 2017, Section 3, with the settings of Locatello et al. (2019).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics.checks import labelled
from metrics.score import Score
from metrics.sharing import Votes, dealt, numbers, partners


def beta_vae(
    codes: ArrayLike,
    factors: ArrayLike,
    generator: np.random.Generator,
    votes: Votes = (10_000, 5_000),
    *,
    batch: int = 64,
) -> float:
    """Accuracy of a logistic regression from the mean difference of pairs of images to the factor that they share.

    The regression is regularised and the differences are not scaled, so that the scale of a code matters.

    Args:
        codes: of all images that are drawn from, such as the whole grid of factors, [N, Z].
        factors: classes, [N, K]; those with a single class are left out.
        generator: draws.
        votes: means of differences, to train and to evaluate; a single number trains, and half as many evaluate.
        batch: pairs in a mean.

    Returns:
        From 0 to 1, chance is one in K; 1 if there is one factor. NaN where codes are not finite, or all factors have a
        single class.

    Raises:
        ValueError: a shape or type is wrong, a class is no whole number, or there are no votes or no pairs.
    """
    train, evaluate = numbers(votes)
    if batch < 1:
        raise ValueError(f"batch must be at least 1, but is {batch}")
    known = labelled(codes, factors)
    if known is None:
        return math.nan
    shared = dealt(train, evaluate, known.factors.shape[1])
    one, other = pairs(known.factors, shared, batch, generator)
    x = differences(known.codes, one, other)
    return accuracy(x[:train], shared[:train], x[train:], shared[train:])


def pairs(
    factors: NDArray[np.int64], shared: NDArray[np.int64], batch: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of both images of pairs that share the factors [V], each [B, V].

    Unlike in a mini-batch of FactorVAE's, every pair has a value of its own.
    """
    one = generator.integers(len(factors), size=(batch, len(shared)))
    other = np.empty_like(one)
    for k, factor in enumerate(factors.T):
        those = np.flatnonzero(shared == k)
        other[:, those] = partners(factor, factor[one[:, those]], generator)
    return one, other


def differences(codes: NDArray[Any], one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean absolute difference of each latent over the pairs of each vote, [N, Z] and [B, V] twice -> [V, Z]."""
    total = np.zeros((one.shape[1], codes.shape[1]))
    for first, second in zip(one, other):  # all votes at once
        total += np.abs(codes.take(first, axis=0) - codes.take(second, axis=0))
    return total / len(one)


def accuracy(
    train: NDArray[np.float64], train_factor: NDArray[np.int64], x: NDArray[np.float64], factor: NDArray[np.int64]
) -> float:
    """The share of factors [V] that a logistic regression on differences [V, Z] gets right."""
    from sklearn.linear_model import LogisticRegression

    if np.ptp(train_factor) == 0:  # there is nothing to fit
        return float(np.mean(factor == train_factor[0]))
    return float(LogisticRegression(max_iter=1000).fit(train, train_factor).score(x, factor))


SCORES = (Score("beta_vae", beta_vae, 1, (0, 1), "more", ("codes", "factors"), 0.1, stochastic=True),)
