"""dSprites, Matthey, Higgins, Hassabis & Lerchner (2017): the authors' npz, downloaded when it is missing.

The npz unpacks to 3 GB, so it is read as the zip of npy files that it is, a piece at a time. Its `metadata` is a
pickle, which could run code, and is not read.
"""

import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesets import factors, files, npy, packed
from imagesets.base import DataError, Info, Splits
from imagesets.cache import New, stored
from imagesets.factors import FACTORS
from imagesets.vision import torchvision

FILE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
URL = f"https://github.com/google-deepmind/dsprites-dataset/raw/master/{FILE}"
PIECE = 1024  # images that are unpacked at once, 4 MB

INFO = Info(
    name="dsprites",
    image_shape=(1, 64, 64),
    train=663_552,
    valid=36_864,
    test=36_864,
    description="a square, ellipse or heart of 6 sizes, 40 angles and 32 x 32 places, white on black",
    files=f"{FILE}, downloaded when missing (19 MB)",
    sources=(FILE,),
    stand_in="sprites",
    factors={name: len(values) for name, values in FACTORS.items()},
)


def load(root: Path) -> Splits:
    """Splits of the npz under `root`. `Split.factors` holds its latents_classes; the labels are the shapes.

    Raises:
        DataError: the file is damaged, or holds another grid, and is then left alone; or is missing and cannot be
            downloaded.
    """
    path = root / FILE

    def build(new: New) -> None:
        files.fetch(INFO, root, lambda folder: torchvision().datasets.utils.download_url(URL, str(folder), FILE))
        sizes = list(INFO.factors.values())
        check_classes(path, sizes)
        pack(new, path, math.prod(sizes))
        factors.fill(new, INFO, [np.arange(size) for size in sizes])

    return factors.splits(stored(root, INFO.name, build, sources=[path]), INFO.image_shape)


def check_classes(path: Path, sizes: Sequence[int]) -> None:
    """Raises DataError where latents_classes is not the full grid of these sizes, in row-major order."""
    start = 0
    for classes in pieces(path, "latents_classes", (math.prod(sizes), len(sizes)), "i"):
        index = np.arange(start, start + len(classes))
        needed = np.stack([factors.value_of(index, sizes, factor) for factor in range(len(sizes))], axis=1)
        for row, factor in np.argwhere(classes != needed)[:1]:
            said = f"says {list(INFO.factors)[factor]} {classes[row, factor]} of image {index[row]}"
            raise files.damaged(INFO, path, f"{said}, where {needed[row, factor]} is needed")
        start += len(classes)


def pack(new: New, path: Path, images: int) -> None:
    """Stores the images, a bit a pixel. Raises DataError where a pixel is not 0 or 1."""
    rows = factors.rows_for(new, images, INFO.image_shape)
    start = 0
    for piece in pieces(path, "imgs", (images, *INFO.image_shape[1:]), "u1"):
        if (value := piece.max()) > 1:
            raise files.damaged(INFO, path, f"has a pixel of {value}, where all must be 0 or 1")
        rows[start : start + len(piece)] = packed.pack(piece)
        start += len(piece)


def pieces(path: Path, name: str, shape: Sequence[int], kind: str) -> Iterator[NDArray[Any]]:
    """An array of the npz in pieces of at most PIECE rows. Once all are read, the zip's checksum has been compared.

    Args:
        path: of the npz.
        name: of the array.
        shape: that it must have.
        kind: that its type must have: "i" any signed integer, "u1" bytes.

    Raises:
        DataError: the file cannot be read, or the array is missing, damaged, or another.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
            found, by_column, dtype = npy.header(member)
            if found != tuple(shape) or by_column:
                order = " by column" if by_column else ""
                raise files.damaged(INFO, path, f"has {name} of shape {[*found]}{order}, where {[*shape]} is needed")
            if not dtype.str[1:].startswith(kind):
                needed = "whole numbers" if kind == "i" else "bytes"
                raise files.damaged(INFO, path, f"has {name} of type {dtype}, where {needed} are needed")
            yield from npy.rows(member, found, dtype, PIECE)
    except DataError:
        raise
    except Exception as error:  # a damaged zip can raise nearly anything
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise files.damaged(INFO, path, f"is damaged: {name} cannot be read ({reason})") from error
