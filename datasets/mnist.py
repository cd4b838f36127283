"""MNIST, LeCun, Cortes & Burges (1998): idx files as torchvision lays them out, downloaded when they are missing.

An idx file of unsigned bytes begins with the bytes 0, 0, 8 and the number of axes; then come the length of each axis,
four bytes, big-endian, and the values.
"""

import contextlib
import http.client
import io
import math
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datasets.base import DataError, Info, Split, Splits

INFO = Info(
    image_shape=(1, 28, 28),
    train=50_000,
    valid=10_000,
    test=10_000,
    description="handwritten digits in grey; valid is drawn from MNIST's 60,000 training images, test is MNIST's own",
    files="MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte, downloaded when missing",
)
SEED = 60_000  # of the split, which belongs to the data set
SHAPES = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}
STAND_IN = "or use mnist5k, which needs no download"


def load(root: Path) -> Splits:
    """Reads the four files in MNIST/raw under `root`, downloading those that are missing.

    Raises:
        DataError: a file is damaged, which is then left alone; or is missing and cannot be downloaded.
    """
    folder = root / "MNIST" / "raw"
    missing = [name for name in SHAPES if not os.path.exists(folder / name)]
    arrays = {name: read(folder / name, SHAPES[name]) for name in SHAPES if name not in missing}
    if missing:
        download(folder, missing)
        arrays |= {name: read(folder / name, SHAPES[name]) for name in missing}
    train, valid = split(arrays["train-images-idx3-ubyte"], arrays["train-labels-idx1-ubyte"], INFO.valid)
    test = as_split(arrays["t10k-images-idx3-ubyte"], arrays["t10k-labels-idx1-ubyte"])
    return Splits(train, valid, test)


def read(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The values of one idx file.

    Args:
        path: the unpacked file.
        shape: what its header must say.

    Returns:
        uint8, of that shape, writable.

    Raises:
        DataError: the file cannot be read, is no such idx file, or is shorter or longer than its header says.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise _damaged(path, f"cannot be read ({error.strerror or error})") from error
    magic = bytes((0, 0, 8, len(shape)))
    start = 4 + 4 * len(shape)
    size = start + math.prod(shape)
    if content.size >= start:
        if (begins := content[:4].tobytes()) != magic:
            raise _damaged(path, f"is no unpacked idx file: begins with 0x{begins.hex()}, not 0x{magic.hex()}")
        if (found := content[4:start].view(">u4").tolist()) != list(shape):
            raise _damaged(path, f"holds an array of shape {found}, where {list(shape)} is needed")
    if content.size != size:
        raise _damaged(path, f"is damaged: it has {content.size} bytes, where {size} are needed")
    return content[start:].reshape(shape)


def split(images: np.ndarray, labels: np.ndarray, valid: int) -> tuple[Split, Split]:
    """Takes `valid` images, at random, for validation and the others for training, both in shuffled order."""
    order = np.random.default_rng(SEED).permutation(len(images))
    train_order, valid_order = order[valid:], order[:valid]
    return as_split(images[train_order], labels[train_order]), as_split(images[valid_order], labels[valid_order])


def as_split(images: np.ndarray, labels: np.ndarray) -> Split:
    """Images [N, H, W] get their channel axis, labels their type."""
    return Split(images[:, None], labels.astype(np.int64))


def download(folder: Path, missing: list[str]) -> None:
    """Puts the missing files into `folder`, each in one step, so that no reader meets half a file.

    Raises:
        DataError: there is no network, the mirrors fail, or the folder cannot be written.
    """
    from datasets.vision import torchvision

    mnist = torchvision().datasets.MNIST
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".download-{os.getpid()}-", dir=folder) as temporary:
            with _quick_and_quiet():
                mnist(temporary, download=True)
            for name in missing:
                os.replace(Path(temporary, "MNIST", "raw", name), folder / name)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[-1]  # the last mirror's, of several lines
        raise DataError(
            f"mnist: {folder / missing[0]} is missing and could not be downloaded ({reason}); "
            f"put the four files {', '.join(SHAPES)}, unpacked, into {folder}, {STAND_IN}"
        ) from error


@contextlib.contextmanager
def _quick_and_quiet() -> Iterator[None]:
    """torchvision waits for a silent server for ever and draws its progress on stderr; both are global settings."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(5)  # seconds without an answer, not for the whole file
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(timeout)


def _damaged(path: Path, finding: str) -> DataError:
    return DataError(f"mnist: {path} {finding}; delete it, and it is downloaded again, or replace it, {STAND_IN}")
