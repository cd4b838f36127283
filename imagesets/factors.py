"""The grid of factors that dSprites, Matthey, Higgins, Hassabis & Lerchner (2017), has, and `sprites` after it.

Every combination of the factors' values occurs once, in row-major order: image number

    index = ((((shape * 6 + scale) * 40 + orientation) * 32 + pos_x) * 32 + pos_y

where each name is the number of a value in FACTORS. The range of the orientations is inclusive: the first and the last
are one angle, so that these two have the same images.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imagesets.base import Info, Split, Splits
from imagesets.cache import Arrays, New
from imagesets.packed import PackedImages

FACTORS = {
    "color": np.array([1.0]),
    "shape": np.array([1.0, 2.0, 3.0]),  # square, ellipse, heart
    "scale": np.linspace(0.5, 1.0, 6),
    "orientation": np.linspace(0.0, 2 * np.pi, 40),  # counter-clockwise as one looks at the image
    "pos_x": np.linspace(0.0, 1.0, 32),  # from left to right
    "pos_y": np.linspace(0.0, 1.0, 32),  # from top to bottom
}
"""The values of each factor, in the order of the columns of `Split.factors`."""

SIZES = [len(values) for values in FACTORS.values()]
SHAPE = list(FACTORS).index("shape")  # the factor that is the label
SEED = 737_280  # of the split, which belongs to the data set


def parts(images: int) -> tuple[int, int, int]:
    """How many of so many images are for training, validation and test: 5 % each for the last two, rounded down."""
    held_out = images // 20
    return images - 2 * held_out, held_out, held_out


def value_of(index: NDArray[np.int64], sizes: Sequence[int], factor: int) -> NDArray[np.int64]:
    """Which value, counted from 0, the factor has in the images of these numbers, in a grid of these sizes."""
    value: NDArray[np.int64] = index // math.prod(sizes[factor + 1 :]) % sizes[factor]
    return value


def fill(new: New, info: Info, values: Sequence[NDArray[np.int64]]) -> None:
    """Draws the split of a grid, and stores which images each part has, with their factors and labels.

    Args:
        new: see `cache.stored`.
        info: how many images each part gets.
        values: the numbers of the values of each factor that the grid is made of.
    """
    sizes = [len(chosen) for chosen in values]
    order = np.random.default_rng(SEED).permutation(math.prod(sizes))
    for part, index in zip(Splits._fields, np.split(order, [info.train, info.train + info.valid])):
        new(f"{part}_index", index.shape, np.int64)[:] = index
        factors = new(f"{part}_factors", (len(index), len(sizes)), np.int64)
        for factor, chosen in enumerate(values):
            factors[:, factor] = chosen[value_of(index, sizes, factor)]
        new(f"{part}_labels", index.shape, np.int64)[:] = factors[:, SHAPE]


def splits(arrays: Arrays, image_shape: Sequence[int]) -> Splits:
    """The splits that `fill` has drawn of the packed images in `arrays["rows"]`, which are in the order of the grid."""

    def split(part: str) -> Split:
        images = PackedImages(arrays["rows"], image_shape, arrays[f"{part}_index"])
        return Split(images, arrays[f"{part}_labels"], arrays[f"{part}_factors"])

    return Splits(*map(split, Splits._fields))


def rows_for(new: New, images: int, image_shape: Sequence[int]) -> NDArray[np.uint8]:
    """Room for so many packed images."""
    return new("rows", (images, -(-math.prod(image_shape) // 8)), np.uint8)
