"""The separated attribute predictability: whether one latent alone predicts a factor.

Kumar, Sattigeri & Balakrishnan, "Variational inference of disentangled latent concepts from unlabeled observations",
ICLR 2018, Section 3, with the classifier of Locatello et al. (2019).
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics.checks import Labelled, train_and_test
from metrics.gaps import gaps
from metrics.score import Score

CONSTANT = 1e-12  # a variance below this is none


def sap(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    continuous: bool = False,
    generator: np.random.Generator | None = None,
) -> float:
    """Mean over the factors of the gap between the two latents that predict it best, each alone.

    A prediction is that of a linear support vector machine (C = 0.01, balanced classes), and counts by its accuracy.
    The machine is regularised, so that the scale of a code matters.

    Args:
        codes: [N, Z]; a single latent is compared with a constant one.
        factors: classes, [N, K]; those with a single class where it is fitted are left out.
        test: codes and factors that accuracies are taken on; without them, a half of the rows.
        continuous: take the squared correlation of code and factor where it is fitted, instead, which needs no other.
        generator: draws that half; None is always the same one.

    Returns:
        From 0 to 1; about 0.25 for perfect codes of dSprites' factors, because a line cuts a code into few classes. NaN
        where codes are not finite, or all factors have a single class.

    Raises:
        ValueError: a shape or type is wrong, a class is no whole number, or `test` has other latents or factors.
    """
    known = train_and_test(codes, factors, (codes, factors) if continuous else test, generator)
    if known is None:
        return math.nan
    train, other = known
    return float(gaps(correlations(train) if continuous else accuracies(train, other)).mean())


def accuracies(train: Labelled, test: Labelled) -> NDArray[np.float64]:
    """The share of the test's classes that each latent alone gets right, [Z, K]; a single latent beside a constant."""
    from sklearn.svm import LinearSVC

    def accuracy(j: int, k: int) -> float:
        machine = LinearSVC(C=0.01, class_weight="balanced", dual=False)
        machine.fit(train_z[:, j : j + 1], train.factors[:, k])
        return float(np.mean(machine.predict(test_z[:, j : j + 1]) == test.factors[:, k]))

    train_z, test_z = _two(train.codes), _two(test.codes)
    return np.array([[accuracy(j, k) for k in range(train.factors.shape[1])] for j in range(train_z.shape[1])])


def correlations(known: Labelled) -> NDArray[np.float64]:
    """The squared correlation of each latent and each factor, 0 where one is constant, [Z, K]."""
    z, y = _two(known.codes), known.factors.astype(np.float64)
    covariance = np.atleast_2d(np.cov(z.T, y.T))
    variance = np.diag(covariance)
    of_z, of_y = np.split(variance, [z.shape[1]])
    product = of_z[:, None] * of_y
    squares = np.square(covariance[: z.shape[1], z.shape[1] :])
    varies = (of_z > CONSTANT)[:, None] & (of_y > CONSTANT)
    return np.divide(squares, product, out=np.zeros_like(squares), where=varies)


def _two(codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The codes, with a constant beside a single one."""
    return np.pad(codes, ((0, 0), (0, 1))) if codes.shape[1] == 1 else codes


SCORES = (Score("sap", sap, 1, (0, 1), "more", ("codes", "factors"), 0.9),)
