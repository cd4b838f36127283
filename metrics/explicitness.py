"""Explicitness: whether a linear classifier reads the factors from all latents together.

Ridgeway & Mozer, "Learning deep disentangled embeddings with the F-statistic loss", NeurIPS 2018, Section 3, with the
classifier of Locatello et al. (2019).
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics.checks import Labelled, scaled, train_and_test
from metrics.score import Score


def explicitness(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    generator: np.random.Generator | None = None,
) -> float:
    """Mean area under the ROC curve of multinomial logistic regressions, one class against the rest.

    Codes are standardised by their mean and deviation where the regression is fitted, so that their scale does not
    matter.

    Args:
        codes: [N, Z].
        factors: classes, [N, K]; those with a single class where it is fitted are left out.
        test: codes and factors that the area is taken on; without them, a half of the rows. Classes that are only in
            one of the two are left out.
        generator: draws that half; None is always the same one.

    Returns:
        From 0 to 1; 0.5 is chance. NaN where codes are not finite, or no factor has two classes in both.

    Raises:
        ValueError: a shape or type is wrong, a class is no whole number, or `test` has other latents or factors.
    """
    known = train_and_test(codes, factors, test, generator)
    if known is None:
        return math.nan
    train, other = (Labelled(scaled(part.codes, by=known[0].codes), part.factors) for part in known)
    mean, deviation = train.codes.mean(axis=0), train.codes.std(axis=0)
    scale = np.where(np.ptp(train.codes, axis=0) > 0, deviation, np.inf)  # a constant code tells nothing
    train, other = (Labelled((part.codes - mean) / scale, part.factors) for part in (train, other))
    areas = [_area(train, other, k) for k in range(train.factors.shape[1])]
    defined = [area for area in areas if not math.isnan(area)]
    return float(np.mean(defined)) if defined else math.nan


def _area(train: Labelled, test: Labelled, k: int) -> float:
    """The mean area over the classes of factor k."""
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression(max_iter=1000).fit(train.codes, train.factors[:, k])
    p = regression.predict_proba(test.codes)
    return areas_under_curve(p, test.factors[:, k, None] == regression.classes_)


def areas_under_curve(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Mean over the columns of the chance that a positive row scores above a negative one, half of it at a tie.

    Args:
        scores: [N, C].
        positive: [N, C]; a column where all are, or none is, is left out.

    Returns:
        NaN where no column is left.
    """
    from scipy.stats import rankdata

    many = positive.sum(axis=0)
    pairs = many * (len(positive) - many)
    above = np.where(positive, rankdata(scores, axis=0), 0).sum(axis=0) - many * (many + 1) / 2
    return float((above[pairs > 0] / pairs[pairs > 0]).mean()) if pairs.any() else math.nan


SCORES = (Score("explicitness", explicitness, 1, (0, 1), "more", ("codes", "factors"), 1.2),)
