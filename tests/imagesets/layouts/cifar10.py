"""CIFAR-10's six batches, as Python 2 has pickled them, of 12 training images each and 20 test images."""

import dataclasses
import struct
from pathlib import Path

import numpy as np

from imagesets import cifar10

COUNTS = {**{f"data_batch_{number}": 12 for number in range(1, 6)}, "test_batch": 20}


def make(folder: Path) -> None:
    """Image i, counted over all files, is i + 5 row + 11 column + 83 channel; its label is i % 10."""
    (folder / "cifar-10-batches-py").mkdir(parents=True)
    start = 0
    for number, (name, count) in enumerate(COUNTS.items(), 1):
        i, channel, row, column = np.ogrid[start : start + count, :3, :32, :32]
        images = (i + 5 * row + 11 * column + 83 * channel).astype(np.uint8)
        title = f"training batch {number} of 5" if number <= 5 else "testing batch 1 of 1"
        content = batch(title, images.reshape(count, -1), [k % 10 for k in range(start, start + count)])
        (folder / "cifar-10-batches-py" / name).write_bytes(content)
        start += count


def shrink(monkeypatch) -> None:
    monkeypatch.setattr(cifar10, "INFO", dataclasses.replace(cifar10.INFO, train=45, valid=15, test=20))


def batch(title: str, images: np.ndarray, labels: list[int]) -> bytes:
    """A pickle of protocol 2 with the opcodes of Python 2, whose strings are bytes, and of its numpy."""
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"M" + struct.pack("<H", images.shape[0]) + b"M" + struct.pack("<H", images.shape[1]) + b"\x86"
    values = b"\x89T" + struct.pack("<i", images.size) + images.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01" + shape + dtype + values
    )
    names = b"".join(_string(f"thing_s_{number:06}.png") for number in range(len(labels)))
    entries = {
        "batch_label": _string(title),
        "labels": b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e",
        "data": array + b"tb",
        "filenames": b"](" + names + b"e",
    }
    return b"\x80\x02}(" + b"".join(_string(key) + value for key, value in entries.items()) + b"u."


def _string(text: str) -> bytes:
    return b"U" + bytes([len(text)]) + text.encode()
