"""The four idx files in which MNIST and the sets made after it are published.

An idx file of unsigned bytes begins with the bytes 0, 0, 8 and the number of axes; then come the length of each axis,
four bytes, big-endian, and the values.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagesets import files
from imagesets.base import Info, Split, Splits
from imagesets.cache import New, fill, splits_of, stored

SEED = 60_000  # of the split, which belongs to the data set
SHAPES = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}


def load(info: Info, root: Path, download: Callable[[Path], None]) -> Splits:
    """Splits from the four files of `info.sources`, in the order of SHAPES; `files.fetch` fetches those missing.

    Raises:
        DataError: a file is damaged, which is then left alone; or is missing and cannot be downloaded.
    """
    shapes = dict(zip((root / source for source in info.sources), SHAPES.values()))

    def build(new: New) -> None:
        files.fetch(info, root, download, check=lambda path: read(info, path, shapes[path]))
        images, labels, test_images, test_labels = (read(info, path, shape) for path, shape in shapes.items())
        train, valid = split(images, labels, info.valid)
        fill(new, Splits(train, valid, as_split(test_images, test_labels)))

    return splits_of(stored(root, info.name, build, sources=list(shapes)))


def read(info: Info, path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The values of one idx file.

    Args:
        info: of the data set, for what is said of a wrong file.
        path: the unpacked file.
        shape: what its header must say.

    Returns:
        uint8, of that shape, writable.

    Raises:
        DataError: the file cannot be read, is no such idx file, or is shorter or longer than its header says.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise files.damaged(info, path, f"cannot be read ({error.strerror or error})") from error
    magic = bytes((0, 0, 8, len(shape)))
    start = 4 + 4 * len(shape)
    size = start + math.prod(shape)
    if content.size >= start:
        if (begins := content[:4].tobytes()) != magic:
            finding = f"is no unpacked idx file: begins with 0x{begins.hex()}, not 0x{magic.hex()}"
            raise files.damaged(info, path, finding)
        if (found := content[4:start].view(">u4").tolist()) != list(shape):
            raise files.damaged(info, path, f"holds an array of shape {found}, where {list(shape)} is needed")
    if content.size != size:
        raise files.damaged(info, path, f"is damaged: it has {content.size} bytes, where {size} are needed")
    return content[start:].reshape(shape)


def split(images: NDArray[np.uint8], labels: NDArray[np.uint8], valid: int) -> tuple[Split, Split]:
    """Takes `valid` images, at random, for validation and the others for training, both in shuffled order."""
    order = np.random.default_rng(SEED).permutation(len(images))
    train_order, valid_order = order[valid:], order[:valid]
    return as_split(images[train_order], labels[train_order]), as_split(images[valid_order], labels[valid_order])


def as_split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Split:
    """Images [N, H, W] get their channel axis, labels their type."""
    return Split(images[:, None], labels.astype(np.int64))
