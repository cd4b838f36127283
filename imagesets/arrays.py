"""One's own images in an npz or npy file: `images`, and optionally `labels`, `factors`, `train`, `valid` and `test`.

A bare npy is the images. They are [N, H, W], [N, H, W, C] or [N, C, H, W] with C 1 or 3; bytes, or floats in [0, 1],
which become the nearest of 256 levels. The axis of 1 or 3 is that of the channels; where both could be, neither is
guessed.
"""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from imagesets import npy, reading
from imagesets.base import DataError, Splits
from imagesets.source import PIECE, Fit, Source, fitted, wrong

NPY, NPZ = b"\x93NUMPY", b"PK"
TIGHT = 900  # times that deflate shortens zeros only, nearly; its limit is 1032
LARGE = 100_000_000  # bytes from which on that matters
SHAPES = "[N, H, W], [N, H, W, C] or [N, C, H, W] with C 1 or 3"


def look(path: Path, fit: Fit) -> Source:
    """All that a file holds, but for the pixels.

    Raises:
        SourceError: the file cannot be read, or is no npz or npy of such arrays.
    """
    names = _names(path)
    if "images" not in names:
        there = f"it has {', '.join(names[:10])}{', ...' * (len(names) > 10)}" if names else "it has none"
        raise wrong(path, f"has no array named images; {there}")
    found = _header(path, "images")
    if found.dtype != np.uint8 and found.dtype.kind != "f":
        raise wrong(path, f"has images of {found.dtype}, where uint8 of 0 to 255, or floats in [0, 1], are needed")
    axis = _channels(path, found.shape)
    count, sizes = found.shape[0], [size for number, size in enumerate(found.shape) if number not in (0, axis)]
    channels = 1 if axis is None else found.shape[axis]
    image_shape = fit.shape(channels, sizes[0], sizes[1])

    def pieces() -> Iterator[NDArray[np.uint8]]:
        start, brightest = 0, 0
        for piece in _rows(path, found):
            images = _bytes(path, piece, start)
            brightest, start = max(brightest, images.max()), start + len(piece)
            yield _fitted(images, axis, image_shape)
        if found.dtype == np.uint8 and brightest == 1:
            raise wrong(path, "has images of 0 and 1 in uint8, where white is 255; multiply them by 255")

    return Source(
        count,
        image_shape,
        pieces,
        orders=_orders(path, names, count),
        labels=_whole_numbers(path, "labels", (count,)) if "labels" in names else None,
        factors=_whole_numbers(path, "factors", (count, None)) if "factors" in names else None,
    )


def _channels(path: Path, shape: tuple[int, ...]) -> int | None:
    """The axis of the channels; None where there is none."""
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise wrong(path, f"has images of shape {[*shape]}, where {SHAPES} is needed")
    if len(shape) == 3:
        return None
    could_be = [axis for axis in (1, 3) if shape[axis] in (1, 3)]
    if len(could_be) == 1:
        return could_be[0]
    if could_be:
        raise wrong(
            path,
            f"has images of shape {[*shape]}, in which the channels could be the second axis or the last; pad the "
            f"images, or give grey ones as [N, H, W]",
        )
    raise wrong(path, f"has images of shape {[*shape]}, where {SHAPES} is needed")


def _orders(path: Path, names: list[str], count: int) -> dict[str, NDArray[np.int64]] | None:
    given = [part for part in Splits._fields if part in names]
    if not given:
        return None
    if len(given) < len(Splits._fields):
        raise wrong(
            path, f"has {' and '.join(given)}, where all three of {', '.join(Splits._fields)}, or none, are needed"
        )
    orders = {part: _whole_numbers(path, part, (None,)) for part in given}
    part_of = np.full(count, -1)
    for number, (part, order) in enumerate(orders.items()):
        if outside := order[order >= count].tolist():
            raise wrong(path, f"has the index {outside[0]} in {part}, where 0 to {count - 1} are needed")
        if taken := order[part_of[order] >= 0].tolist():
            other = given[part_of[taken[0]]]
            raise wrong(path, f"has the index {taken[0]} in {other} and in {part}; an image is in one split")
        part_of[order] = number
        if len(np.unique(order)) < len(order):
            raise wrong(path, f"has an index in {part} twice")
    return orders


def _whole_numbers(path: Path, name: str, needed: tuple[int | None, ...]) -> NDArray[np.int64]:
    """A small array of numbers from 0 on; None in its shape stands for any length but 0."""
    found = _header(path, name)
    axes = len(found.shape) == len(needed) and all(
        length == wanted if wanted is not None else length > 0 for length, wanted in zip(found.shape, needed)
    )
    if not axes:
        shape = "[" + ", ".join("any" if length is None else str(length) for length in needed) + "]"
        raise wrong(path, f"has {name} of shape {[*found.shape]}, where {shape} is needed")
    if found.dtype.kind not in "iu":
        raise wrong(path, f"has {name} of {found.dtype}, where whole numbers are needed")
    values = np.concatenate(list(_rows(path, found, name))).astype(np.int64)
    if (lowest := values.min()) < 0:
        raise wrong(path, f"has {lowest} in {name}, where numbers from 0 on are needed")
    return values


def _bytes(path: Path, piece: NDArray[Any], start: int) -> NDArray[np.uint8]:
    if piece.dtype == np.uint8:
        return piece
    flat = piece.reshape(len(piece), -1)
    low, high = flat.min(axis=1), flat.max(axis=1)
    outside = np.flatnonzero(~((low >= 0) & (high <= 1)))  # NaN is neither
    if len(outside):
        index = outside[0]
        holds = "NaN" if np.isnan(low[index]) else f"{low[index]:g} to {high[index]:g}"
        raise wrong(
            path, f"has {holds} in image {start + index}, where floats in [0, 1], or uint8 of 0 to 255, are needed"
        )
    return np.rint(255 * piece.astype(np.float64)).astype(np.uint8)


def _fitted(images: NDArray[np.uint8], axis: int | None, image_shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Images of any layout as [n, C, H, W], of that shape."""
    images = images[:, None] if axis is None else np.moveaxis(images, axis, 1)
    if images.shape[1:] == image_shape:
        return images
    from PIL import Image

    layout = images[:, 0] if images.shape[1] == 1 else np.moveaxis(images, 1, 3)
    return np.stack([fitted(Image.fromarray(np.ascontiguousarray(image)), image_shape) for image in layout])


# The file.


def _names(path: Path) -> list[str]:
    """Of the arrays that it holds."""
    with _reading(path, "npz or npy"):
        with open(path, "rb") as file:
            begins = file.read(len(NPY))
        if begins == NPY:
            return ["images"]
        if not begins.startswith(NPZ):
            raise wrong(path, f"is neither npz nor npy, nor a folder of pictures; it begins with {begins!r}")
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


@contextlib.contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[IO[bytes], int, int]]:
    """An array's npy file, its length, and how many bytes hold it."""
    with _reading(path, f"npz or npy, in {name}"), open(path, "rb") as file:
        if file.read(len(NPY)) == NPY:
            file.seek(0)
            length = path.stat().st_size
            yield file, length, length
            return
        with zipfile.ZipFile(file) as archive:
            member = archive.getinfo(f"{name}.npy")
            if member.flag_bits & 1:
                raise wrong(path, f"is encrypted: {name} cannot be read; save it without a password")
            with archive.open(member) as opened:
                yield opened, member.file_size, member.compress_size


def _header(path: Path, name: str) -> npy.Header:
    with _opened(path, name) as (file, length, packed):
        found = npy.header(file)
        if found.dtype.hasobject:
            raise wrong(
                path, f"has {name} of Python objects, which are not read: they are a pickle, which could run code"
            )
        held, said = length - file.tell(), found.dtype.itemsize * math.prod(found.shape)
        if held != said:
            raise wrong(path, f"is damaged: {name} has {held:,} bytes, where its header says {said:,}")
        if length > max(LARGE, TIGHT * packed):
            raise wrong(
                path,
                f"has {name} of {length:,} bytes packed in {packed:,}, which only empty images can be; "
                f"save it with numpy.savez if it is right",
            )
    return found


def _rows(path: Path, found: npy.Header, name: str = "images") -> Iterator[NDArray[Any]]:
    piece = max(1, PIECE // (found.dtype.itemsize * math.prod(found.shape[1:])))
    with _opened(path, name) as (file, _, _):
        if found.by_column:
            values = np.lib.format.read_array(file, allow_pickle=False)
            yield from (values[start : start + piece] for start in range(0, len(values), piece))
        else:
            npy.header(file)
            yield from npy.rows(file, found.shape, found.dtype, piece)


@contextlib.contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    """Turns what is raised, of a damaged file nearly anything, into a line."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        finding = "cannot be read" if isinstance(error, OSError) and error.strerror else f"is no whole {kind}"
        raise wrong(path, f"{finding} ({reading.reason(error)})") from error
