"""The n corners of a simplex: each of n points is a row of n pixels, one of them white.

There are no more images than these n, so that the three splits are the same population: each holds `copies` of every
point, in an order of its own, and they cannot be disjoint. With `noise` every black pixel is drawn afresh for each
image of each split, from 0.2 + 0.1 N(0, 1), clipped to [0, 1].

The n points are equally likely, which bounds the log-likelihood of any model: without noise it is at most -log n nats
an image on average, -1.386 for n = 4.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from imagesets.base import Info, Splits
from imagesets.cache import New, splits_of, stored
from imagesets.checks import switch, whole

INFO = Info(
    name="points",
    image_shape=(1, 1, 4),
    train=400,
    valid=400,
    test=400,
    description="n points, each a row of n pixels with one white; the splits are copies of the same n, so not disjoint",
    files="generated",
)
CHUNK = 10_000  # images made at a time


def load(root: Path, *, n: int = 4, noise: bool = False, copies: int = 100, seed: int = 0) -> Splits:
    """Images [N, 1, 1, n], labels the index of the white pixel; see `info` for the options and errors."""
    found = info(n=n, noise=noise, copies=copies, seed=seed)

    def build(new: New) -> None:
        points = np.eye(n, dtype=np.uint8) * np.uint8(255)
        for part, (name, count) in enumerate(zip(Splits._fields, (found.train, found.valid, found.test))):
            random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(part,)))
            labels = new(f"{name}_labels", (count,), np.int64)
            labels[:] = random.permutation(np.repeat(np.arange(n), copies))
            images = new(f"{name}_images", (count, *found.image_shape), np.uint8)
            for start in range(0, count, CHUNK):
                rows = points[labels[start : start + CHUNK]]
                if noise:
                    black = np.clip(0.2 + 0.1 * random.standard_normal(rows.shape), 0, 1)
                    rows = np.where(rows == 0, np.rint(255 * black).astype(np.uint8), rows)
                images[start : start + CHUNK] = rows[:, None, None]

    options = {"n": n, "noise": noise, "copies": copies, "seed": seed}
    return splits_of(stored(root, INFO.name, build, options=options))


def info(*, n: int = 4, noise: bool = False, copies: int = 100, seed: int = 0) -> Info:
    """What is known of the data set under these options.

    Args:
        n: how many points there are, and pixels in each.
        noise: whether black pixels are noisy.
        copies: images of each point, in each split.
        seed: of the order and of the noise.

    Raises:
        DataError: an option is out of its range.
    """
    whole(INFO, "n", n, 2, 256)
    switch(INFO, "noise", noise)
    whole(INFO, "copies", copies, 1, 100_000)
    whole(INFO, "seed", seed, 0, 2**63 - 1)
    return replace(INFO, image_shape=(1, 1, n), train=n * copies, valid=n * copies, test=n * copies)
