"""Images that are read in the publisher's order, piece by piece, and stored in the order of each split."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from imagesets.base import Info
from imagesets.cache import New

Orders = Mapping[str, NDArray[np.int64]]
"""Of each split, which of the publisher's images it has, in its order; no image twice."""

Put = Callable[[int, NDArray[np.uint8]], None]
"""Stores images that follow one another in the publisher's order, given the index of the first."""


def draw(info: Info, seed: int) -> Orders:
    """Train and valid, drawn at random from the images that the publisher gives for training, in shuffled order."""
    order = np.random.default_rng(seed).permutation(info.train + info.valid)
    return {"train": order[info.valid :], "valid": order[: info.valid]}


def keep(info: Info) -> Orders:
    """Test, in the order in which the publisher gives its images."""
    return {"test": np.arange(info.test)}


def room(new: New, orders: Orders, image_shape: Sequence[int], count: int | None = None) -> Put:
    """Makes room for the images of splits that share a source, and returns what fills it.

    Args:
        new: see `cache.stored`.
        orders: of these splits.
        image_shape: of one image.
        count: how many images the source has; None where each is in one of the splits.
    """
    images = {part: new(f"{part}_images", (len(order), *image_shape), np.uint8) for part, order in orders.items()}
    count = sum(map(len, orders.values())) if count is None else count
    split, place = np.full(count, -1), np.empty(count, np.int64)
    for number, order in enumerate(orders.values()):
        split[order], place[order] = number, np.arange(len(order))

    def put(start: int, piece: NDArray[np.uint8]) -> None:
        here = slice(start, start + len(piece))
        for number, part in enumerate(orders):
            chosen = split[here] == number
            images[part][place[here][chosen]] = piece[chosen]

    return put


def annotate(new: New, orders: Orders, kind: str, values: NDArray[np.integer]) -> None:
    """Stores the labels or factors of those images, given in the publisher's order."""
    for part, order in orders.items():
        new(f"{part}_{kind}", (len(order), *values.shape[1:]), np.int64)[:] = values[order]
