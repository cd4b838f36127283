"""Scores of a model's codes: one table of codes an evaluation, in whose rows every score looks up what it needs.

Locatello et al. (2019) fit on 10,000 images, test on 5,000 others and draw 10,000 votes to train and 5,000 to evaluate;
so does `confirm` if not told otherwise.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import metrics
from study.spec.measures import SCORES

SEED = 0


class Coded(NamedTuple):
    """The codes of some images, and their factors where they are known."""

    codes: NDArray[Any]  # [N, Z]
    factors: NDArray[np.int64] | None = None  # [N, K]

    def rows(self, which: NDArray[np.int64]) -> Coded:
        return Coded(self.codes[which], None if self.factors is None else self.factors[which])


class How(NamedTuple):
    """How scores are taken."""

    votes: int = 10_000  # that train; half as many evaluate
    examples: int | None = None  # that are fitted; half as many test. None: all, of which a half tests
    trees: str = "lightgbm"  # of DCI


AS_PUBLISHED = How()


def scored(table: Coded, names: Collection[str], how: How = AS_PUBLISHED) -> dict[str, float]:
    """Scores of codes, by the names of their measures.

    Votes are drawn from the whole table, what is fitted or counted is so on rows of it that are drawn once. Every score
    has a random stream of its own, the same at each call: it does not move with what else is asked for.

    Args:
        table: means, or draws.
        names: of measures, as those of means are called.
        how: see there.
    """
    train, test = halves(table, how.examples)
    found: dict[str, float] = {}
    for score in SCORES:
        if asked := [(i, measure.name) for i, measure in enumerate(score.measures) if measure.name in names]:
            drawn_from = table if "votes" in score.measures[0].needs else train
            numbers = _numbers(score.metric, drawn_from, test, how)
            found |= {name: numbers[i] for i, name in asked}
    return found


def halves(table: Coded, examples: int | None) -> tuple[Coded, Coded | None]:
    """What is fitted and what it is tested on, drawn once; of a table that has too few, two thirds and a third.

    Without `examples` the first is all, and the second None: a metric then divides by itself.
    """
    if examples is None:
        return table, None
    fitted = min(examples, -(-2 * len(table.codes) // 3))
    order = np.random.default_rng(SEED).permutation(len(table.codes))
    return table.rows(order[:fitted]), table.rows(order[fitted : fitted + -(-fitted // 2)])


def _numbers(metric: str, table: Coded, test: Coded | None, how: How) -> tuple[float, ...]:
    """What a metric says of codes; it is given what it takes."""
    score = metrics.scores()[metric]
    given = {
        "test": test,
        "votes": how.votes,
        "trees": how.trees,
        "threads": torch.get_num_threads(),
        "generator": np.random.default_rng(SEED),
    }
    takes = inspect.signature(score.function).parameters
    arguments = [getattr(table, need) for need in score.needs]
    found = score.function(*arguments, **{name: value for name, value in given.items() if name in takes})
    return tuple(found) if score.numbers else (float(found),)
