"""Black and white images, a bit a pixel, that are indexed like an array of bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class PackedImages:
    """Images whose pixels are 0 or 255, kept as bits; what is asked for is unpacked.

    Args:
        rows: an image a row, its pixels in C order, eight a byte, the first in the highest bit; uint8, [M, bytes].
        image_shape: of one image, [C, H, W].
        index: which rows, in which order, int64, [N]; None is all of them.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, rows: NDArray[np.uint8], image_shape: Sequence[int], index: NDArray[np.int64] | None = None):
        self.rows, self.image_shape, self.index = rows, tuple(image_shape), index
        self.shape = (len(rows) if index is None else len(index), *self.image_shape)
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        if rest and (first is None or first is ... or not _simple(rest)):
            raise IndexError("packed images take images[which] or images[which, slices]; unpack first: images[:][...]")
        chosen = self.rows[first] if self.index is None else self.rows[self.index[first]]
        images = unpack(chosen, self.image_shape)
        return images[(slice(None),) * (chosen.ndim - 1) + rest] if rest else images

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("packed images cannot be an array without a copy")
        images = self[:]
        return images if dtype is None else images.astype(dtype, copy=False)


def pack(images: NDArray[Any]) -> NDArray[np.uint8]:
    """Rows of `PackedImages`: a pixel is on where it is not 0. [N, ...] to [N, bytes]."""
    return np.packbits(images.reshape(len(images), -1) != 0, axis=1)


def unpack(rows: NDArray[np.uint8], image_shape: Sequence[int]) -> NDArray[np.uint8]:
    """Images of `pack`, 0 and 255: [..., bytes] to [..., C, H, W]."""
    bits = np.unpackbits(rows, axis=-1, count=math.prod(image_shape))
    return (bits * np.uint8(255)).reshape(*rows.shape[:-1], *image_shape)


def _simple(axes: tuple[Any, ...]) -> bool:
    """Whether they mean the same for some of the images as for all: no arrays, which go together with `which`."""
    return all(isinstance(axis, (int, np.integer, slice)) or axis is None or axis is ... for axis in axes)
