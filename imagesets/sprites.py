"""White squares, ellipses and hearts on black, after dSprites, Matthey, Higgins, Hassabis & Lerchner (2017).

The factors, their values, the number and the order of the images are those of dSprites (`imagesets.factors`), and so
are the conventions: at orientation 0 the square stands on a side, the ellipse lies on its long side and the heart
points down; a larger orientation is turned counter-clockwise; a larger pos_x is further to the right, a larger pos_y
further down. The pixels are ours, from geometry alone: a pixel is on where its centre lies inside the shape.

A sprite is drawn once for each shape, scale and orientation and then moved by whole pixels, one a step. Its centre of
area lies beside the centre of a pixel, by OFFSET, for two reasons. No pixel's centre is closer than 1e-5 to an edge, so
that no platform's rounding decides. And no two images are equal, as are many of a square about the centre of a pixel,
but for orientations 0 and 39, which are one angle: of these two images, one may be in train and the other in test.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesets import factors
from imagesets.base import DataError, Info, Splits
from imagesets.cache import New, stored
from imagesets.factors import FACTORS

SIDE = 64  # of an image, in pixels, as all lengths here
FIRST = 16  # column and row of the centre at position 0
LAST = len(FACTORS["pos_x"]) - 1
CANVAS = SIDE + LAST  # side of what a sprite is drawn on; each image is a window of it
OFFSET = (0.14, -0.19)  # columns to the right, rows down

# Sizes at scale 1, which are about those of dSprites.
SQUARE = 21.0  # side
ELLIPSE = (13.0, 7.2)  # half axes
HEART = 12.0  # side of its square
HALVES = math.pi / 4  # area of the heart's half discs, where that of its square is 1
HEART_CENTRE = HEART * (1 / 2 + 2 / (3 * math.pi)) / math.sqrt(2) * HALVES / (1 + HALVES)
"""How far the heart's centre of area lies above its square's; a half disc's is 4 r / (3 pi) from its diameter."""

INFO = Info(
    name="sprites",
    image_shape=(1, SIDE, SIDE),
    train=663_552,
    valid=36_864,
    test=36_864,
    description="a square, ellipse or heart of 6 sizes, 40 angles and 32 x 32 places, white on black; no download",
    files="drawn by this program",
    factors={name: len(values) for name, values in FACTORS.items()},
)

Choice = int | Sequence[int] | None
"""Of a factor's values: all (None), so many, evenly spaced (an int), or those with these numbers, counted from 0.

Evenly spaced values are the first, the last, and those between; of the orientations, these two are one angle.
"""


def load(
    root: Path,
    *,
    shape: Choice = None,
    scale: Choice = None,
    orientation: Choice = None,
    pos_x: Choice = None,
    pos_y: Choice = None,
) -> Splits:
    """Reads the cache under `root`, or draws the images, a few seconds for all of them, and fills the cache.

    `Split.factors` holds the numbers that values have in FACTORS, whatever the options; the labels are the shapes.

    Raises:
        DataError: see `info`.
    """
    options = {"shape": shape, "scale": scale, "orientation": orientation, "pos_x": pos_x, "pos_y": pos_y}
    known = info(**options)
    values = chosen(options)

    def build(new: New) -> None:
        draw(new, values)
        factors.fill(new, known, values)

    key = {name: numbers.tolist() for name, numbers in zip(FACTORS, values)}
    return factors.splits(stored(root, INFO.name, build, options=key), INFO.image_shape)


def info(
    *,
    shape: Choice = None,
    scale: Choice = None,
    orientation: Choice = None,
    pos_x: Choice = None,
    pos_y: Choice = None,
) -> Info:
    """Sizes under the options. `Info.factors` stays that of the full grid, which the numbers in `Split.factors` are of.

    Raises:
        DataError: an option is no choice of its factor's values, or too few images are left for three splits.
    """
    options = {"shape": shape, "scale": scale, "orientation": orientation, "pos_x": pos_x, "pos_y": pos_y}
    images = math.prod(map(len, chosen(options)))
    train, valid, test = factors.parts(images)
    if not valid:
        raise DataError(
            f"{INFO.name}: the options leave {images} images, where at least 20 are needed for three splits"
        )
    return replace(INFO, train=train, valid=valid, test=test)


def chosen(options: dict[str, Choice]) -> list[NDArray[np.int64]]:
    """The numbers of the values that the options choose, ascending, of every factor. Raises DataError."""
    return [_chosen(name, options.get(name), len(values)) for name, values in FACTORS.items()]


def _chosen(name: str, choice: Any, count: int) -> NDArray[np.int64]:
    if choice is None:
        return np.arange(count)
    if type(choice) is int and 1 <= choice <= count:
        return np.linspace(0, count - 1, choice).round().astype(np.int64)
    if isinstance(choice, list | tuple) and choice and all(type(k) is int and 0 <= k < count for k in choice):
        numbers = np.unique(np.array(choice))
        if len(numbers) == len(choice):
            return numbers
    raise DataError(
        f"{INFO.name}: {name} is {choice!r}, where None (all values), how many (1 to {count}), "
        f"or a list of different numbers of values (0 to {count - 1}) is needed"
    )


def draw(new: New, values: Sequence[NDArray[np.int64]]) -> None:
    """Draws every combination of the values, given as `chosen` gives them, in the order of the grid."""
    _, shapes, scales, orientations, pos_x, pos_y = values
    rows = factors.rows_for(new, math.prod(map(len, values)), INFO.image_shape)
    places = len(pos_x) * len(pos_y)
    start = 0
    for shape in shapes:
        for scale in FACTORS["scale"][scales]:
            for angle in FACTORS["orientation"][orientations]:
                rows[start : start + places] = moved(depth(shape, scale, angle) > 0, pos_x, pos_y)
                start += places


def moved(sprite: NDArray[np.bool_], pos_x: NDArray[np.int64], pos_y: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Packed images of a sprite at every place, pos_y running fastest.

    Args:
        sprite: on the canvas, [CANVAS, CANVAS].
        pos_x: numbers of positions.
        pos_y: numbers of positions.

    Returns:
        Rows of `PackedImages`, [len(pos_x) * len(pos_y), SIDE * SIDE / 8].
    """
    columns = np.stack([sprite[:, LAST - x : LAST - x + SIDE] for x in pos_x])
    bits = np.packbits(columns, axis=2)
    return np.stack([bits[:, LAST - y : LAST - y + SIDE] for y in pos_y], axis=1).reshape(-1, SIDE * SIDE // 8)


def depth(shape: int, scale: float, angle: float) -> NDArray[np.float64]:
    """How deep inside a shape the centre of each pixel of the canvas lies.

    Args:
        shape: 0 square, 1 ellipse, 2 heart.
        scale: of its lengths; 1 is the largest.
        angle: that it is turned by, counter-clockwise, in radians.

    Returns:
        [CANVAS, CANVAS]; above 0 inside, 0 on the edge, below 0 outside. It changes by at most 1 a pixel, so that no
        centre is closer to the edge than its absolute value.
    """
    steps = np.arange(CANVAS) - float(FIRST + LAST)
    x, y = steps - OFFSET[0], OFFSET[1] - steps[:, None]  # to the right and upwards
    cos, sin = math.cos(angle), math.sin(angle)
    u, v = (x * cos + y * sin) / scale, (y * cos - x * sin) / scale  # turned back and brought to scale 1
    if shape == 0:
        inside = _square(u, v, SQUARE)
    elif shape == 1:
        a, b = ELLIPSE
        inside = b - np.hypot(u * b / a, v)
    else:
        inside = _heart(u, v + HEART_CENTRE)
    return inside * scale


def _square(u: NDArray[np.float64], v: NDArray[np.float64], side: float) -> NDArray[np.float64]:
    return side / 2 - np.maximum(np.abs(u), np.abs(v))


def _heart(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """A square that stands on a corner, and on each of its upper sides half a disc; the square's centre is at 0."""
    p, q = (u + v) / math.sqrt(2), (v - u) / math.sqrt(2)  # along its sides
    radius = HEART / 2
    discs = radius - np.minimum(np.hypot(p - radius, q), np.hypot(p, q - radius))
    return np.maximum(_square(p, q, HEART), discs)
