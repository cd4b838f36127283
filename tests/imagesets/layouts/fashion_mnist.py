"""Fashion-MNIST's four idx files as torchvision lays them out, with 300 training and 100 test images."""

import dataclasses
import gzip
from pathlib import Path

import numpy as np

from imagesets import fashion_mnist, idx

SHAPES = {
    "train-images-idx3-ubyte": (300, 28, 28),
    "train-labels-idx1-ubyte": (300,),
    "t10k-images-idx3-ubyte": (100, 28, 28),
    "t10k-labels-idx1-ubyte": (100,),
}


def make(folder: Path) -> None:
    """Noise for images; label i % 10."""
    random = np.random.default_rng(1)
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, shape in SHAPES.items():
        values = (
            random.integers(0, 256, shape, np.uint8) if len(shape) == 3 else np.arange(shape[0], dtype=np.uint8) % 10
        )
        header = bytes((0, 0, 8, len(shape))) + np.array(shape, ">u4").tobytes()
        (raw / name).write_bytes(header + values.tobytes())
        (raw / f"{name}.gz").write_bytes(gzip.compress(header + values.tobytes()))  # what torchvision unpacked


def shrink(monkeypatch) -> None:
    monkeypatch.setattr(idx, "SHAPES", SHAPES)
    info = dataclasses.replace(fashion_mnist.INFO, train=250, valid=50, test=100)
    monkeypatch.setattr(fashion_mnist, "INFO", info)
