import socket
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from cached import make

from imagesets import mnist5k


@pytest.fixture(scope="module", autouse=True)
def _no_network():
    def refuse(*arguments, **keywords):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", refuse)
        yield


def _write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture(scope="session")
def write_idx():
    """Writes an array as an idx file of unsigned bytes."""
    return _write_idx


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    """A data folder with MNIST's files in their true layout and size.

    Image i, counted over both files, holds i as big-endian bytes in its first row, and its label is i % 10.
    """
    folder = tmp_path_factory.mktemp("data")
    for part, start, count in (("train", 0, 60_000), ("t10k", 60_000, 10_000)):
        index = np.arange(start, start + count, dtype=">u4")
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 0, :4] = index.view(np.uint8).reshape(-1, 4)
        _write_idx(folder / "MNIST" / "raw" / f"{part}-images-idx3-ubyte", images)
        _write_idx(folder / "MNIST" / "raw" / f"{part}-labels-idx1-ubyte", index % 10)
    return folder


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """The images and labels of mnist5k, which take two seconds to parse."""
    return mnist5k.parse()


@pytest.fixture
def build():
    """Makes two arrays, and counts its calls."""
    return Mock(side_effect=make)


@pytest.fixture
def source(tmp_path):
    """A file that the arrays are said to be made of."""
    path = tmp_path / "raw" / "source"
    path.parent.mkdir()
    path.write_bytes(b"some content")
    return path
