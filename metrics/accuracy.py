"""How well a small classifier tells labels from codes: the probes of a representation.

The replication of Variational Sparse Coding plots this over the latent size; a logistic regression to convergence and
an MLP with one hidden layer take the place of its classifier, whose logits ended in a ReLU.
"""

import math
import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from metrics.checks import real, scaled, train_and_test
from metrics.score import Score

HIDDEN = 128


def accuracy(
    codes: ArrayLike,
    labels: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    classifier: Literal["logistic", "mlp"] = "logistic",
    generator: np.random.Generator | None = None,
) -> float:
    """The share of labels that a classifier of standardised codes gets right.

    Args:
        codes: [N, Z]; in single precision the classifier is fitted in it.
        labels: classes, [N].
        test: codes and labels that the share is taken on; without them, a half of the rows.
        classifier: a logistic regression with an L2 penalty (C = 1), or an MLP of 128 hidden units (Adam, 200 epochs;
            fewer when a tenth of the rows, held out, shows no gain in ten, if each class has ten rows).
        generator: draws that half, and the MLP's start and batches; None is always the same ones.

    Returns:
        From 0 to 1. NaN where codes are not finite, or all labels that it is fitted on are the same.

    Raises:
        ValueError: a shape or type is wrong, a label is no whole number, or the classifier is not known.
    """
    generator = np.random.default_rng(0) if generator is None else generator
    columns = None if test is None else (test[0], _column(test[1]))
    known = train_and_test(codes, _column(labels), columns, generator)
    if classifier not in ("logistic", "mlp"):
        raise ValueError(f"classifier {classifier!r} is not known; known: logistic, mlp")
    if known is None:
        return math.nan
    (train, other), precision = known, real("codes", codes, "[N, Z]").dtype
    rows = np.unique(train.factors, return_counts=True)[1]
    fitted = _mlp(int(generator.integers(2**31)), int(rows.min())) if classifier == "mlp" else _logistic()
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    z, z_other = scaled(train.codes).astype(precision), scaled(other.codes, by=train.codes).astype(precision)
    probe = make_pipeline(StandardScaler(), fitted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs belongs to the definition
        probe.fit(z, train.factors[:, 0])
    return float(probe.score(z_other, other.factors[:, 0]))


def _column(labels: ArrayLike) -> Any:
    found = np.asarray(labels)
    if found.ndim != 1:
        raise ValueError(f"labels must be [N], but have shape {list(found.shape)}")
    return found[:, None]


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=2000)


def _mlp(seed: int, fewest: int) -> Any:
    """An MLP for labels of which the rarest has so many rows; of fewer than ten a tenth cannot be held out."""
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((HIDDEN,), early_stopping=fewest >= 10, random_state=seed)


SCORES = (Score("accuracy", accuracy, 1, (0, 1), "more", ("codes", "labels"), 0.3, stochastic=True),)
