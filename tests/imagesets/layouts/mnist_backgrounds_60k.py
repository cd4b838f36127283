"""MNIST's four idx files, with few digits."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from imagesets import idx, mnist_backgrounds_60k

SHAPES = {
    "train-images-idx3-ubyte": (60, 28, 28),
    "train-labels-idx1-ubyte": (60,),
    "t10k-images-idx3-ubyte": (20, 28, 28),
    "t10k-labels-idx1-ubyte": (20,),
}


def make(folder: Path) -> None:
    """Blots of grey on black; the label of image i of a file is i % 10."""
    random = np.random.default_rng(0)
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, shape in SHAPES.items():
        if "labels" in name:
            values = np.arange(shape[0], dtype=np.uint8) % 10
        else:
            values = np.zeros(shape, np.uint8)
            values[:, 8:20, 8:20] = random.integers(256, size=(shape[0], 12, 12))
        header = bytes((0, 0, 8, values.ndim)) + np.array(shape, ">u4").tobytes()
        (raw / name).write_bytes(header + values.tobytes())


def shrink(monkeypatch) -> None:
    info = replace(mnist_backgrounds_60k.INFO, train=50, valid=10, test=20)
    monkeypatch.setattr(mnist_backgrounds_60k, "INFO", info)
    monkeypatch.setattr(idx, "SHAPES", SHAPES)
