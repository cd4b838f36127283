"""Disentanglement, completeness and informativeness: which latents a classifier of each factor looks at.

Eastwood & Williams, "A framework for the quantitative evaluation of disentangled representations", ICLR 2018, Section
2, with the gradient boosting of Locatello et al. (2019).
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics.checks import scaled, train_and_test
from metrics.score import Score

Trees = Literal["scikit-learn", "lightgbm"]
TINY = 1e-11  # as the 2019 study has it: log 0 is not asked for


class DCI(NamedTuple):
    """The three numbers, from 0 to 1, of which more is better."""

    disentanglement: float  # whether a latent is used for one factor
    completeness: float  # whether a factor is told by one latent
    informativeness: float  # accuracy on the test rows


class Fit(NamedTuple):
    """What a classifier of one factor says."""

    importance: NDArray[np.float64]  # of each latent, [Z]; their sum is 1, or all are 0
    predicted: NDArray[np.int64]  # class of each test row


def dci(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    trees: Trees = "scikit-learn",
    threads: int = 2,
    generator: np.random.Generator | None = None,
) -> DCI:
    """The three numbers of a gradient-boosted classifier of each factor: 100 rounds, depth 3, rate 0.1.

    Args:
        codes: [N, Z].
        factors: classes, [N, K]; those with a single class where it is fitted are left out.
        test: codes and factors that the accuracy is taken on; without them, a half of the rows.
        trees: whose; "lightgbm" takes seconds where "scikit-learn", by which the score is defined, takes minutes. A
            result is to say which.
        threads: factors that are classified at a time; the numbers do not depend on it.
        generator: draws that half, and the order in which scikit-learn's trees look at latents, which decides between
            equal ones; None is always the same ones.

    Returns:
        Each from 0 to 1. Disentanglement is NaN with a single factor, completeness with a single latent: there is
        nothing to tell apart. All are NaN where codes are not finite, or all factors have a single class.

    Raises:
        ValueError: a shape or type is wrong, a class is no whole number, `test` has other latents or factors, or the
            trees are not known.
        ModuleNotFoundError: lightgbm is asked for and not installed.
    """
    fit = _classifier(trees)
    generator = np.random.default_rng(0) if generator is None else generator
    known = train_and_test(codes, factors, test, generator)
    if known is None:
        return DCI(math.nan, math.nan, math.nan)
    train, other = known
    seeds = [int(generator.integers(2**31)) for _ in train.factors.T]
    z, z_test = scaled(train.codes), scaled(other.codes, by=train.codes)  # trees know single precision only
    with ThreadPoolExecutor(threads) as pool:
        fits = list(pool.map(lambda y, seed: fit(z, y, z_test, seed), train.factors.T, seeds))
    importance = np.stack([each.importance for each in fits], axis=1)
    informativeness = float(np.mean([each.predicted == y for each, y in zip(fits, other.factors.T)]))
    return DCI(disentanglement(importance), completeness(importance), informativeness)


def disentanglement(importance: NDArray[np.float64]) -> float:
    """Mean over the latents of 1 - H_K of their row of importances [Z, K], by their share of all importance."""
    return completeness(importance.T)


def completeness(importance: NDArray[np.float64]) -> float:
    """Mean over the factors of 1 - H_Z of their column of importances [Z, K], by their share of all importance.

    A column and a row alike are a distribution once divided by their sum; H is its entropy to the base of its length.
    NaN for a length of 1. Shares are equal where all importances are 0.
    """
    share = importance.sum(axis=0)
    return float(np.average(concentration(importance), weights=share if share.any() else None))


def concentration(importance: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 less the entropy of each column to the base of its length: 1 where one entry has it all; [Z, K] -> [K]."""
    if len(importance) == 1:
        return np.full(importance.shape[1], np.nan)
    p = importance + TINY
    p /= p.sum(axis=0)
    found: NDArray[np.float64] = 1 + (p * np.log(p)).sum(axis=0) / math.log(len(p))
    return found


Classifier = Callable[[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], int], Fit]


def _classifier(trees: str) -> Classifier:
    if trees == "scikit-learn":
        return scikit_learn
    if trees == "lightgbm":
        from metrics.boosting import boosted

        return lambda codes, y, test, seed: Fit(*boosted(codes, y, test))
    raise ValueError(f"trees {trees!r} is not known; known: scikit-learn, lightgbm")


def scikit_learn(codes: NDArray[np.float64], y: NDArray[np.int64], test: NDArray[np.float64], seed: int) -> Fit:
    """scikit-learn's gradient boosting with its defaults, which are those above."""
    from sklearn.ensemble import GradientBoostingClassifier

    classifier = GradientBoostingClassifier(random_state=seed).fit(codes, y)
    return Fit(classifier.feature_importances_, classifier.predict(test))


SCORES = (
    Score(
        "dci",
        dci,
        1,
        (0, 1),
        "more",
        ("codes", "factors"),
        300.0,  # an estimate, with scikit-learn's trees; 13 with LightGBM's
        numbers=DCI._fields,
        stochastic=True,
    ),
)
