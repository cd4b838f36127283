"""Pairs of points with a shared and a private part: the synthetic data of the conjoint models, which have no paper.

A point of D pixels is two one-hot blocks, x = [onehot_p(a), onehot_s(b)] with p = D // 2 and s = D - p. There are p s
points, counted with a outermost. Both images of a pair are the same point, so that a, which is the label, and b are
shared. Once pairs are drawn by label instead, which is done where batches are drawn, a is what the streams share and
each has a b of its own.

There are no more pairs than these, so that the three splits are the same population: each holds `copies` of every
pair, in an order of its own, and they cannot be disjoint.

All pairs are equally likely, which bounds the joint log-likelihood log p(x1, x2) of any model: it is at most -log(p s)
nats a pair on average for pairs by index, -2.773 at D = 8, and -log(p s s) for pairs by label, -4.159.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagesets.base import Info, Splits
from imagesets.cache import New, splits_of, stored
from imagesets.checks import whole

INFO = Info(
    name="conjoint_points",
    image_shape=(2, 1, 1, 8),
    train=400,
    valid=400,
    test=400,
    description="pairs of rows, a white pixel in each half; the splits are copies of the same few, so not disjoint",
    files="generated",
    factors={"primary": 4, "secondary_1": 4, "secondary_2": 4},
)
SEED = 8  # of the order


def load(root: Path, *, size: int = 8, copies: int = 25) -> Splits:
    """Images [N, 2, 1, 1, D], labels a, and factors [N, 3]: a, b of stream 1, b of stream 2; see `info`."""
    found = info(size=size, copies=copies)

    def build(new: New) -> None:
        points, a, b = combinations(size)
        pairs = np.stack([points, points], axis=1).reshape(-1, *found.image_shape)
        for part, (name, count) in enumerate(zip(Splits._fields, (found.train, found.valid, found.test))):
            random = np.random.default_rng(np.random.SeedSequence(SEED, spawn_key=(part,)))
            order = random.permutation(np.repeat(np.arange(len(points)), copies))
            images = new(f"{name}_images", (count, *found.image_shape), np.uint8)
            np.take(pairs, order, axis=0, out=images, mode="clip")  # "raise" would make a copy of it all first
            labels, factors = new(f"{name}_labels", (count,), np.int64), new(f"{name}_factors", (count, 3), np.int64)
            labels[:] = factors[:, 0] = a[order]
            factors[:, 1] = factors[:, 2] = b[order]

    return splits_of(stored(root, INFO.name, build, options={"size": size, "copies": copies}))


def info(*, size: int = 8, copies: int = 25) -> Info:
    """What is known of the data set under these options.

    Args:
        size: D, the pixels of a point.
        copies: of each pair, in each split.

    Raises:
        DataError: an option is out of its range.
    """
    whole(INFO, "size", size, 4, 256)
    whole(INFO, "copies", copies, 1, 100_000)
    p, s = _blocks(size)
    count = p * s * copies
    factors = {"primary": p, "secondary_1": s, "secondary_2": s}
    return replace(INFO, image_shape=(2, 1, 1, size), train=count, valid=count, test=count, factors=factors)


def combinations(size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """All points, 0 and 255, [p s, D], and the a and the b of each, [p s]."""
    p, s = _blocks(size)
    a, b = np.repeat(np.arange(p), s), np.tile(np.arange(s), p)
    points = np.zeros((p * s, size), np.uint8)
    points[np.arange(p * s), a] = points[np.arange(p * s), p + b] = 255
    return points, a, b


def _blocks(size: int) -> tuple[int, int]:
    """p and s."""
    return size // 2, size - size // 2
