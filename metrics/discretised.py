"""Mutual information of codes that were cut into bins, as MIG and modularity take it.

Locatello, Bauer, Lucic, Rätsch, Gelly, Schölkopf & Bachem, "Challenging common assumptions in the unsupervised learning
of disentangled representations", ICML 2019, Appendix C, with the settings of their code.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 20


def discretise(codes: NDArray[Any], bins: int = BINS) -> NDArray[np.int64]:
    """The bin of each code, from 0 on: equally wide ones between the smallest and the largest code of each latent.

    The edges are those of `numpy.histogram`, in the precision of the codes. A constant code is all in one bin.

    Args:
        codes: finite, [N, Z].
        bins: how many.

    Returns:
        [N, Z].
    """
    low, high = codes.min(axis=0), codes.max(axis=0)
    about = np.where(low == high, codes.dtype.type(0.5), codes.dtype.type(0))  # as numpy does for a constant
    edges = np.linspace(low - about, high + about, bins + 1, dtype=codes.dtype)[:-1]
    found = [np.searchsorted(of, code, side="right") - 1 for of, code in zip(edges.T, codes.T)]
    return np.stack(found, axis=1)


def mutual_information(x: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mutual information of each column of x and each of y, of their joint frequencies, in nats.

    Args:
        x: small numbers from 0 on, [N, A].
        y: the same, [N, B].

    Returns:
        At least 0, and exactly 0 where one of the two is constant, [A, B].
    """
    return np.stack([_information(x, column) for column in y.T], axis=1)


def entropy(y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Entropy of each column's frequencies in nats; y as above, [N, K] -> [K]."""
    return np.array([-_p_log(np.bincount(column) / len(y), 1.0).sum() for column in y.T])


def _information(x: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each column of x, [N, A], and one y, [N]."""
    columns, values, classes = x.shape[1], x.max() + 1, y.max() + 1
    cell = (np.arange(columns) * values + x) * classes + y[:, None]
    p = np.bincount(cell.ravel(), minlength=columns * values * classes).reshape(columns, values, classes) / len(y)
    independent = p.sum(axis=2, keepdims=True) * p.sum(axis=1, keepdims=True)
    information = _p_log(p, independent).sum(axis=(1, 2))
    return np.where(information < np.finfo(np.float64).eps, 0.0, information)  # below it is rounding


def _p_log(p: NDArray[np.float64], q: Any) -> NDArray[np.float64]:
    """p log(p / q), 0 where p is."""
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    found: NDArray[np.float64] = p * np.log(ratio)
    return found
