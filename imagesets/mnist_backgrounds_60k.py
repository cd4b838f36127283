"""All 70,000 digits of MNIST before two backgrounds each, in pairs of streams; see `backgrounds`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from imagesets import backgrounds, idx, mnist
from imagesets.base import DataError, Info, Splits
from imagesets.vision import torchvision

INFO = Info(
    name="mnist_backgrounds_60k",
    image_shape=(2, *mnist.INFO.image_shape),
    train=mnist.INFO.train,
    valid=mnist.INFO.valid,
    test=mnist.INFO.test,
    description="pairs of one digit of mnist before two backgrounds in grey, such as stripes and a checkerboard",
    files=f"made of mnist: {mnist.INFO.files}",
    sources=mnist.INFO.sources,
    stand_in="mnist_backgrounds",
    factors={"digit": 10, "style_1": 1, "style_2": 1},
)


def load(
    root: Path, *, styles: Sequence[Sequence[str]] = backgrounds.PAIR, threshold: int = 0, seed: int = 0
) -> Splits:
    """Pairs of MNIST's digits, in the splits of `mnist`; for the options and errors see `backgrounds.load`."""
    return backgrounds.load(INFO, root, lambda: digits(root), styles, threshold, seed)


def info(*, styles: Sequence[Sequence[str]] = backgrounds.PAIR, threshold: int = 0, seed: int = 0) -> Info:
    """What is known of the data set under these options; see `backgrounds.check` for its errors."""
    return backgrounds.check(INFO, styles, threshold, seed)


def digits(root: Path) -> Splits:
    """The data set `mnist`, stored under its own name; what is wrong with its files is told under this one's."""
    as_mnist = replace(INFO, name=mnist.INFO.name)
    try:
        return idx.load(as_mnist, root, lambda folder: torchvision().datasets.MNIST(folder, download=True))
    except DataError as error:
        raise DataError(f"{INFO.name}{str(error).removeprefix(as_mnist.name)}") from error
