"""What one's own images come from: what is known before pixels are read, and how a picture is made to fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imagesets.base import SourceError

if TYPE_CHECKING:
    from PIL.Image import Image

NAME = "images"
PIECE = 2**24  # bytes of pixels that are read at a time, about


class Fit(NamedTuple):
    """What is asked of every image: height and width, and whether it is grey; None leaves it as it is."""

    size: tuple[int, int] | None
    grey: bool | None

    def shape(self, channels: int, height: int, width: int) -> tuple[int, int, int]:
        """What becomes of images of that shape."""
        if self.grey is not None:
            channels = 1 if self.grey else 3
        return channels, *(self.size or (height, width))


class Source(NamedTuple):
    """Images before their pixels are read.

    Attributes:
        total: how many.
        image_shape: [C, H, W].
        pieces: reads them, in order, in pieces [n, C, H, W].
        orders: which images each split has; None where the source does not say.
        labels: [N], or None.
        factors: [N, F], or None.
        names: of the files that they come from, one each; None for arrays.
    """

    total: int
    image_shape: tuple[int, int, int]
    pieces: Callable[[], Iterator[NDArray[np.uint8]]]
    orders: Mapping[str, NDArray[np.int64]] | None = None
    labels: NDArray[np.int64] | None = None
    factors: NDArray[np.int64] | None = None
    names: list[str] | None = None


def wrong(path: Path, finding: str) -> SourceError:
    """The error for a source that is not what it should be, a line; `finding` follows the path."""
    return SourceError(f"{NAME}: {path} {finding}".replace("\n", " "))


def fitted(picture: Image, image_shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A picture in grey or RGB as [C, H, W]: its largest central part of that aspect, bilinear, antialiased."""
    from PIL import Image, ImageOps

    channels, height, width = image_shape
    picture = picture.convert("L" if channels == 1 else "RGB")
    if picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
