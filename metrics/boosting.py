"""scikit-learn's gradient boosting of a classifier on LightGBM's trees, which are grown some 20 times as fast.

Friedman, "Greedy function approximation: a gradient boosting machine", Annals of Statistics 2001, Algorithm 6.

LightGBM's own boosting weighs rows by their second derivative, which moves the importances of latents by up to 0.1 from
those that DCI is defined by. So LightGBM only grows the trees here, a round at a time, as least squares on the
residuals; the leaves' values are the one Newton step that scikit-learn takes. What is left is LightGBM's rounding of
codes to bins: with a bin a value, importances agree to 0.02, which is about what another seed of scikit-learn's does.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDS, DEPTH, RATE = 100, 3, 0.1
LEAVES = 2**DEPTH
THREADS = 1  # these trees are too small to share. Every call says so: LightGBM keeps the last one said, for all threads
BINS = 1023  # so many values of a latent at most are told apart; 255 move DCI by 0.04


def boosted(
    codes: NDArray[np.float64], y: NDArray[np.int64], test: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Importances of the latents, and classes of the test rows.

    Args:
        codes: [N, Z].
        y: their classes, at least two, [N].
        test: codes to classify, [M, Z].

    Returns:
        Reductions of the squared error, by latent, as shares of all; zeros where no tree could be grown, [Z]. And [M].

    Raises:
        ModuleNotFoundError: lightgbm is not installed.
    """
    classes, y = np.unique(y, return_inverse=True)
    of_class = y[:, None] == (np.arange(len(classes)) if len(classes) > 2 else 1)  # two classes share a tree
    if not np.ptp(codes, axis=0).any():  # LightGBM takes no such data
        return np.zeros(codes.shape[1]), np.full(len(test), classes[np.bincount(y).argmax()])
    booster = _booster(codes, of_class.shape[1])
    rows = np.concatenate([codes, test])
    logits = np.tile(_start(of_class), (len(rows), 1))
    for i in range(ROUNDS):
        p = _probabilities(logits[: len(y)])
        residuals = of_class - p
        if booster.update(fobj=lambda *_, r=residuals: (-r.squeeze(), np.ones_like(r).squeeze())):
            break  # no tree has a split
        found = booster.predict(rows, start_iteration=i, num_iteration=1, pred_leaf=True, num_threads=THREADS)
        leaf = found.reshape(len(rows), -1) + LEAVES * np.arange(of_class.shape[1])
        logits += RATE * _newton(leaf[: len(y)], residuals, p)[leaf]
    gains = _even(booster.feature_importance("gain"), codes)
    largest = logits[len(y) :].argmax(axis=1) if len(classes) > 2 else (logits[len(y) :, 0] > 0).astype(np.int64)
    return gains / max(gains.sum(), np.finfo(np.float64).tiny), classes[largest]


def _booster(codes: NDArray[np.float64], trees: int) -> Any:
    """LightGBM's booster of so many trees of least squares a round."""
    import lightgbm

    settings = {
        "objective": "none",
        "num_class": trees,
        "learning_rate": 1.0,  # the rate is in the leaves' values
        "max_depth": DEPTH,
        "num_leaves": LEAVES,
        "min_data_in_leaf": 1,
        "min_sum_hessian_in_leaf": 0.5,  # a row's is 1
        "boost_from_average": False,
        "max_bin": BINS,
        "min_data_in_bin": 1,
        "feature_pre_filter": False,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": THREADS,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(codes, label=np.zeros(len(codes)), params=settings)
    return lightgbm.Booster(settings, data)


def _even(gains: NDArray[np.float64], codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gains, of which latents that order the rows alike, up to sign, have the same: a tree cannot tell them apart.

    LightGBM looks at the first, scikit-learn at any, so that theirs differ by chance only.
    """
    alike: dict[bytes, list[int]] = {}
    for j, code in enumerate(codes.T):
        rank = np.unique(code, return_inverse=True)[1]
        alike.setdefault(min(rank.tobytes(), (rank.max() - rank).tobytes()), []).append(j)
    for those in alike.values():
        gains[those] = gains[those].mean()
    return gains


def _start(of_class: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Logits of the classes' frequencies, [C]."""
    frequency = of_class.mean(axis=0)
    start: NDArray[np.float64] = np.log(frequency) if len(frequency) > 1 else np.log(frequency / (1 - frequency))
    return start


def _probabilities(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Softmax, and the logistic function of a single column, [N, C]."""
    if logits.shape[1] == 1:
        return 1 / (1 + np.exp(-logits))
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def _newton(leaf: NDArray[np.int64], residuals: NDArray[np.float64], p: NDArray[np.float64]) -> NDArray[np.float64]:
    """One step for each leaf of each tree: Friedman (2001), Eq. 32.

    Args:
        leaf: of each row in each tree, numbered through all trees, [N, C].
        residuals: [N, C].
        p: probabilities of the classes, [N, C].

    Returns:
        Values, [C LEAVES].
    """
    size = LEAVES * p.shape[1]
    slope = np.bincount(leaf.ravel(), residuals.ravel(), size)
    curvature = np.bincount(leaf.ravel(), (p * (1 - p)).ravel(), size)
    step = np.divide(slope, curvature, out=np.zeros_like(slope), where=curvature > 1e-150)
    return step * (p.shape[1] - 1) / p.shape[1] if p.shape[1] > 1 else step
