"""One's own images: an npz of 60 in colour, 5 x 7, with labels and factors."""

from pathlib import Path

import numpy as np


def make(folder: Path) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 5, 7, 3), np.uint8)
    np.savez(folder / "own.npz", images=images, labels=np.arange(60) % 3, factors=random.integers(0, 4, (60, 2)))


def shrink(monkeypatch) -> None:
    """It is small."""


def options(folder: Path) -> dict[str, str]:
    return {"path": str(folder / "own.npz")}
