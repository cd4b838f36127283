"""Street View House Numbers, Netzer et al. (2011): MATLAB files as torchvision lays them out, without the extra set."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesets import files, matlab, scatter
from imagesets.base import Info, Splits
from imagesets.cache import New, splits_of, stored
from imagesets.vision import torchvision

INFO = Info(
    name="svhn",
    image_shape=(3, 32, 32),
    train=65_000,
    valid=8_257,
    test=26_032,
    description="digits of house numbers in colour; valid is drawn from 73,257 training images, test is the set's own",
    files="train_32x32.mat and test_32x32.mat, downloaded when missing (246 MB)",
    sources=("train_32x32.mat", "test_32x32.mat"),
    stand_in="mnist5k",
)
SEED = 73_257  # of the split, which belongs to the data set
PIECE = 4096  # images copied at a time


def load(root: Path) -> Splits:
    """Splits of the two files under `root`; those missing are downloaded.

    Raises:
        DataError: a file is damaged, which is then left alone; or is missing and cannot be downloaded.
    """
    counts = dict(zip((root / source for source in INFO.sources), (INFO.train + INFO.valid, INFO.test)))

    def build(new: New) -> None:
        files.fetch(INFO, root, lambda folder: _download(folder, root), check=lambda path: read(path, counts[path]))
        for (path, count), orders in zip(counts.items(), (scatter.draw(INFO, SEED), scatter.keep(INFO))):
            images, labels = read(path, count)
            put = scatter.room(new, orders, INFO.image_shape)
            for start in range(0, count, PIECE):
                put(start, images[start : start + PIECE])
            scatter.annotate(new, orders, "labels", labels)

    return splits_of(stored(root, INFO.name, build, sources=list(counts)))


def read(path: Path, count: int) -> tuple[NDArray[np.uint8], NDArray[np.integer[Any]]]:
    """One file's images, [N, C, H, W], not contiguous, and digits, [N].

    Raises:
        DataError: the file cannot be read, or holds something else.
    """
    arrays = matlab.read(INFO, path, {"X": (32, 32, 3, count), "y": (count, 1)})
    images, labels = arrays["X"], arrays["y"][:, 0]
    if images.dtype != np.uint8:
        raise files.damaged(INFO, path, f"holds X of {images.dtype}, where uint8 is needed")
    if (wrong := labels[~np.isin(labels, np.arange(1, 11))]).size:
        raise files.damaged(INFO, path, f"holds the label {wrong[0]} in y, where 1 to 10 are needed")
    return images.transpose(3, 2, 0, 1), labels.astype(np.int64) % 10  # the publisher's 10 is the digit 0


def _download(folder: Path, root: Path) -> None:
    for part, source in zip(("train", "test"), INFO.sources):
        if not (root / source).exists():
            torchvision().datasets.SVHN(folder, split=part, download=True)
