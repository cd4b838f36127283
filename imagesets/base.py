"""What a data set is: three splits of images, what is known of them beforehand, and where its files lie."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from imagesets.packed import PackedImages

Images = NDArray[np.uint8] | PackedImages


class DataError(Exception):
    """Data that cannot be had: one line that names the file or the data set and says what to do."""


class SourceError(DataError):
    """A source of one's own that is missing or is not what it should be, where the options are right."""


class Split(NamedTuple):
    """Images and what is known of each.

    Attributes:
        images: uint8, 0 to 255, [N, C, H, W]; [N, 2, C, H, W] in a data set of pairs. A C-contiguous array, or, where
            all pixels are 0 or 255 and there are many, `PackedImages`, which is indexed like one.
        labels: int64, [N], or None for a data set without classes.
        factors: int64, the index of each generating factor's value, [N, F], or None where they are not known.
    """

    images: Images
    labels: NDArray[np.int64] | None = None
    factors: NDArray[np.int64] | None = None


class Splits(NamedTuple):
    """Disjoint parts of a data set; which image is in which is fixed by the data set, never by a study's seed."""

    train: Split
    valid: Split
    test: Split


@dataclass(frozen=True)
class Info:
    """What is known of a data set without loading it.

    Attributes:
        name: of its module.
        image_shape: (C, H, W); (2, C, H, W) in a data set of pairs.
        train: number of training images.
        valid: number of validation images.
        test: number of test images.
        description: one line on what the images show.
        files: one line on where they come from and which files under the data folder hold them.
        sources: those files, relative to the data folder; none for what is generated or comes with a package.
        stand_in: the data set that needs no file and comes nearest.
        factors: names of the columns of `Split.factors`, and how many values each has.
    """

    name: str
    image_shape: tuple[int, ...]
    train: int
    valid: int
    test: int
    description: str
    files: str
    sources: tuple[str, ...] = ()
    stand_in: str = ""
    factors: dict[str, int] = field(default_factory=dict)

    @property
    def paired(self) -> bool:
        """Whether an image is a pair, one of each of two streams."""
        return len(self.image_shape) == 4


def data_root(root: str | Path | None = None) -> Path:
    """The folder that holds the data, absolute: `root`, else LATENTSWEEP_DATA, else ~/.cache/latentsweep."""
    given = root or os.environ.get("LATENTSWEEP_DATA") or "~/.cache/latentsweep"
    return Path(os.path.expanduser(given)).absolute()
