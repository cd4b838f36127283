"""SVHN's two MATLAB files, with 60 training and 20 test images."""

import dataclasses
from pathlib import Path

import numpy as np
from scipy.io import savemat

from imagesets import svhn

COUNTS = {"train_32x32.mat": (0, 60), "test_32x32.mat": (60, 80)}


def make(folder: Path) -> None:
    """Image i, counted over both files, is i + 5 row + 11 column + 83 channel; its digit is i % 10, 0 written as 10."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (start, stop) in COUNTS.items():
        row, column, channel, i = np.ogrid[:32, :32, :3, start:stop]
        digits = np.arange(start, stop)[:, None] % 10
        arrays = {
            "X": (i + 5 * row + 11 * column + 83 * channel).astype(np.uint8),
            "y": np.where(digits == 0, 10, digits).astype(np.uint8),
        }
        savemat(folder / name, arrays, do_compression=True)


def shrink(monkeypatch) -> None:
    monkeypatch.setattr(svhn, "INFO", dataclasses.replace(svhn.INFO, train=45, valid=15, test=20))
