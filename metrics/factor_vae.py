"""FactorVAE's score: whether the latent that varies least tells which factor was held fixed.

Kim & Mnih, "Disentangling by factorising", ICML 2018, Section 5, with the settings of Locatello et al. (2019).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics.checks import labelled
from metrics.score import Score
from metrics.sharing import Votes, dealt, numbers, partners


def factor_vae(
    codes: ArrayLike,
    factors: ArrayLike,
    generator: np.random.Generator,
    votes: Votes = (10_000, 5_000),
    *,
    batch: int = 64,
    threshold: float = 0.05,
) -> float:
    """Accuracy of the majority vote from the latent that varies least in a mini-batch to the factor that it shares.

    A vote takes a factor, draws one of its values and a mini-batch of images with it, and goes to the latent whose
    variance there is the smallest share of its variance over all codes. Over all: the authors estimate that from 10,000
    images.

    Args:
        codes: of all images that are drawn from, such as the whole grid of factors, [N, Z].
        factors: classes, [N, K]; those with a single class are left out.
        generator: draws.
        votes: to train and to evaluate; a single number trains, and half as many evaluate.
        batch: images of a mini-batch.
        threshold: latents with a smaller deviation over all codes take no part.

    Returns:
        From 0 to 1, chance is one in K; 0 if no latent takes part, 1 if there is one factor. NaN where codes are not
        finite, or all factors have a single class.

    Raises:
        ValueError: a shape or type is wrong, a class is no whole number, or there are no votes, or no variance because
            a mini-batch has fewer than two images.
    """
    train, evaluate = numbers(votes)
    if batch < 2:
        raise ValueError(f"batch must be at least 2, for a variance, but is {batch}")
    known = labelled(codes, factors)
    if known is None:
        return math.nan
    variance = known.codes.var(axis=0, ddof=1, dtype=np.float64)
    active = (np.sqrt(variance) >= threshold) & (np.ptp(known.codes, axis=0) > 0)  # the second for a large constant
    if not active.any():
        return 0.0
    fixed = dealt(train, evaluate, known.factors.shape[1])
    rows = mini_batches(known.factors, fixed, batch, generator)
    least = np.argmin(variances(known.codes, rows)[:, active] / variance[active], axis=1)
    shape = (known.factors.shape[1], int(active.sum()))
    return majority(counts(fixed[:train], least[:train], shape), counts(fixed[train:], least[train:], shape))


def mini_batches(
    factors: NDArray[np.int64], fixed: NDArray[np.int64], batch: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """The rows of the images of mini-batches that share a value of the factors [V] that are fixed, [B, V]."""
    rows = np.empty((batch, len(fixed)), np.int64)
    for k, factor in enumerate(factors.T):
        those = np.flatnonzero(fixed == k)
        values = factor[generator.integers(len(factor), size=len(those))]
        rows[:, those] = partners(factor, np.broadcast_to(values, (batch, len(those))), generator)
    return rows


def variances(codes: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Variance (divisor B - 1) of each latent over each mini-batch, [N, Z] and [B, V] -> [V, Z].

    Deviations are taken from each mini-batch's first image, so that what all of its images share varies by exactly 0.
    """
    batch = len(rows)
    first = codes.take(rows[0], axis=0).astype(np.float64)
    total, squares = np.zeros_like(first), np.zeros_like(first)
    for row in rows[1:]:  # all votes at once
        deviation = codes.take(row, axis=0) - first
        total += deviation
        deviation *= deviation
        squares += deviation
    found: NDArray[np.float64] = np.maximum(squares - total * total / batch, 0) / (batch - 1)
    return found


def counts(fixed: NDArray[np.int64], least: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.int64]:
    """How often each latent varied least while each factor was fixed, [K, Z]."""
    return np.bincount(fixed * shape[1] + least, minlength=shape[0] * shape[1]).reshape(shape)


def majority(train: NDArray[np.int64], evaluate: NDArray[np.int64]) -> float:
    """The share of the evaluated votes, [K, Z], that fall on the factor that had most of their latent's in training."""
    factor = train.argmax(axis=0)
    return float(evaluate[factor, np.arange(evaluate.shape[1])].sum() / evaluate.sum())


SCORES = (Score("factor_vae", factor_vae, 1, (0, 1), "more", ("codes", "factors"), 0.03, stochastic=True),)
