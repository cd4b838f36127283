"""Draws of images that share a factor's value, from stored codes: all votes of FactorVAE's or beta-VAE's score at once.

On the codes of a whole grid of factors this is what encoding fresh images of these factors would give. On others, such
as a sample of the grid, the images with that value stand for it: a value needs many, and one that a single image has
makes votes of copies, which tell nothing.
"""

import numpy as np
from numpy.typing import NDArray

Votes = int | tuple[int, int]


def numbers(votes: Votes) -> tuple[int, int]:
    """How many votes train, and how many evaluate; of one number, that and half as many.

    Raises:
        ValueError: one of them is below 1.
    """
    train, evaluate = (votes, max(1, votes // 2)) if isinstance(votes, int | np.integer) else votes
    if train < 1 or evaluate < 1:
        raise ValueError(f"votes must be at least 1 to train and 1 to evaluate, but are {votes}")
    return train, evaluate


def dealt(train: int, evaluate: int, factors: int) -> NDArray[np.int64]:
    """The factor of each vote, those that train first: each of them equally often, but for one.

    The authors draw it. The expected score is the same, without the chance of that draw, which at 500 votes moves a
    score of 0.75 by 0.02.
    """
    return np.concatenate([np.arange(train), np.arange(evaluate)]) % factors


def partners(factor: NDArray[np.int64], values: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """For each value a row that has it, any of them with the same chance.

    Args:
        factor: of each row, small numbers from 0 on, [N].
        values: each held by some row, of any shape.
        generator: draws.

    Returns:
        Row numbers, of the shape of `values`.
    """
    order = np.argsort(factor.astype(np.min_scalar_type(factor.max())), kind="stable")  # few bits sort by counting
    sizes = np.bincount(factor)
    starts = np.cumsum(sizes) - sizes
    within = (generator.random(values.shape) * sizes[values]).astype(np.int64)
    return order[starts[values] + within]
