"""Unsupervised disentanglement ranking: models that disentangle agree up to order and sign, others do not.

Duan, Matthey, Saraiva, Watters, Burgess, Lerchner & Higgins, "Unsupervised model selection for variational disentangled
representation learning", ICLR 2020, Section 4. As in the authors' code, a pair's score is the mean of a mean over rows
and one over columns; the paper divides their sum by the number of both.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics.checks import finite, real, scaled
from metrics.score import Score

INFORMATIVE = 0.01  # nats: a latent with a smaller mean KL says nothing of an image
PENALTY = 0.1


def udr(
    codes: Sequence[ArrayLike],
    kl: Sequence[ArrayLike],
    similarity: Literal["lasso", "spearman"] = "lasso",
) -> NDArray[np.float64]:
    """How well each model's latents correspond one to one to those of the others: trainings that differ by their seed.

    A model that collapsed to one or two latents may score high: read it beside the number of latents in use.

    Args:
        codes: of the same images by M models, each [N, Z]; the Z may differ.
        kl: KL of each latent to the prior, mean over the images, in nats, each [Z]. Latents at 0.01 or below take no
            part.
        similarity: of two latents: the size of the coefficient in a lasso (penalty 0.1) from the one model's
            standardised codes to the other's, or of Spearman's rank correlation.

    Returns:
        From 0 to 1: the median over a model's pairs with all others, [M]. A pair without latents that take part has 0.
        NaN for a model whose codes or KL are not finite, which no other is compared with, and where there is no other.

    Raises:
        ValueError: a shape or type is wrong, images differ in number, or the similarity is not known.
    """
    if similarity not in ("lasso", "spearman"):
        raise ValueError(f"similarity {similarity!r} is not known; known: lasso, spearman")
    models = [_informative(z, each, similarity) for z, each in _checked(codes, kl)]
    found = np.full(len(models), math.nan)
    for i, one in enumerate(models):
        others = [other for j, other in enumerate(models) if other is not None and j != i]
        if one is not None and others:
            found[i] = np.median([one_to_one(_similarities(one, other, similarity)) for other in others])
    return found


def one_to_one(similarities: NDArray[np.float64]) -> float:
    """1 where each row and each column has one entry that is not 0, and that is 1; [Z, Z'], which may be empty."""
    if not similarities.size:
        return 0.0
    return float(np.mean([_relative_strength(similarities), _relative_strength(similarities.T)]))


def _relative_strength(similarities: NDArray[np.float64]) -> float:
    """The largest entry of each column, squared and over the column's sum, 0 for zeros; the mean over the columns."""
    largest, total = similarities.max(axis=0), similarities.sum(axis=0)
    return float(np.divide(largest**2, total, out=np.zeros_like(total), where=total > 0).mean())


def _checked(codes: Sequence[ArrayLike], kl: Sequence[ArrayLike]) -> list[tuple[NDArray[Any], NDArray[np.float64]]]:
    """Pairs of both, once they fit together."""
    if len(codes) != len(kl):
        raise ValueError(f"kl must be of the {len(codes)} models that the codes are of, but is of {len(kl)}")
    found = [
        (real(f"codes[{i}]", z, "[N, Z]"), np.asarray(each, np.float64)) for i, (z, each) in enumerate(zip(codes, kl))
    ]
    for i, (z, each) in enumerate(found):
        if each.shape != z.shape[1:]:
            raise ValueError(
                f"kl[{i}] must be of {z.shape[1]} latents, as codes[{i}], but has shape {list(each.shape)}"
            )
        if len(z) != len(found[0][0]):
            raise ValueError(f"codes[{i}] must be of the {len(found[0][0])} images of codes[0], but are of {len(z)}")
    return found


def _informative(codes: NDArray[Any], kl: NDArray[np.float64], similarity: str) -> NDArray[np.float64] | None:
    """The latents that take part, or their ranks, standardised; None where something is not finite."""
    if not (finite(codes) and np.isfinite(kl).all()):
        return None
    z = scaled(codes[:, kl > INFORMATIVE].astype(np.float64))
    if similarity == "spearman":
        from scipy.stats import rankdata

        z = rankdata(z, axis=0)
    varies = np.ptp(z, axis=0) > 0
    standard: NDArray[np.float64] = np.where(varies, z - z.mean(axis=0), 0) / np.where(varies, z.std(axis=0), 1)
    return standard


def _similarities(one: NDArray[np.float64], other: NDArray[np.float64], similarity: str) -> NDArray[np.float64]:
    """Of each latent of one model and each of the other, [N, Z] and [N, Z'] -> [Z, Z']."""
    shape = (one.shape[1], other.shape[1])
    if similarity == "spearman" or 0 in shape:
        return np.abs(one.T @ other) / len(one)
    from sklearn.linear_model import Lasso

    return np.abs(Lasso(alpha=PENALTY).fit(one, other).coef_.reshape(shape[::-1]).T)


SCORES = (Score("udr", udr, 1, (0, 1), "more", ("codes", "kl"), 0.06),)
