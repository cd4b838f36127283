"""One's own images, by the path of an npz or npy file (`imagesets.arrays`) or of a folder (`imagesets.folders`).

Where the source does not say which split an image is in, a tenth of the images each, and at least one, is drawn for
validation and for the test, the rest is for training.
"""

import functools
import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesets import arrays, folders, scatter
from imagesets.base import DataError, Info, Splits
from imagesets.cache import New, splits_of, stored
from imagesets.checks import switch
from imagesets.reading import reason
from imagesets.source import NAME, Fit, Source, wrong

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".tgz", ".tar", ".tar.gz")

INFO = Info(
    name=NAME,
    image_shape=(),
    train=0,
    valid=0,
    test=0,
    description="one's own: arrays in an npz or npy file, or a folder of pictures",
    files="the npz or npy file, or the folder of pictures, that `path` names",
)
SEED = 101_010  # of the split, which belongs to the data set
LARGEST = 4096  # height and width that pictures can be resized to

Size = int | list[int] | None
"""Height and width that all images are brought to; one number is both."""


def load(root: Path, *, path: Path, size: Size = None, grey: bool | None = None) -> Splits:
    """Splits of the images at a path; see `info` for the options.

    Raises:
        DataError: an option is wrong, or the source is missing or is not what it should be; nothing is kept then.
    """
    fit = _fit(size, grey)
    stamp = _stamp(path)

    def build(new: New) -> None:
        source = _look(path, fit)
        orders = _orders(path, source)
        put, start, first, differ = scatter.room(new, orders, source.image_shape, source.total), 0, None, False
        for piece in source.pieces():
            first = piece[0].copy() if first is None else first
            differ = differ or bool((piece != first).any())
            put(start, piece)
            start += len(piece)
        if not differ:
            raise wrong(path, f"has {source.total} images that are all equal")
        for kind, values in (("labels", source.labels), ("factors", source.factors)):
            if values is not None:
                scatter.annotate(new, orders, kind, values)
        if _stamp(path) != stamp:
            raise wrong(path, "was changed while it was read; load it again")

    options = {"path": str(path), "size": fit.size, "grey": fit.grey}
    return splits_of(stored(root, NAME, build, options=options, stamp=stamp))


def info(*, path: Path, size: Size = None, grey: bool | None = None) -> Info:
    """Sizes of the images at a path.

    Args:
        path: of an npz or npy file, or of a folder of pictures.
        size: height and width that images are brought to, cut to that aspect about their centres; one number is both,
            None leaves them as they are, and must be the same in all then.
        grey: True makes all of them grey, False none; None leaves arrays as they are, and pictures as the first is.

    Raises:
        DataError: an option is wrong.
        SourceError: the source is missing or is not what it should be, as far as can be told without its pixels.
    """
    fit = _fit(size, grey)
    if not isinstance(path, str | Path) or not str(path):
        raise DataError(f"{NAME}: path is {path!r}, where that of an npz or npy file or of a folder is needed")
    return _info(Path(path), fit, _quick_stamp(Path(path)))


def source(*, path: Path, size: Size = None, grey: bool | None = None) -> Source:
    """The images at a path in their own order, whatever split they are in, before their pixels are read.

    Arguments and errors as for `info`; a single image is enough.
    """
    fit = _fit(size, grey)
    _status(path)
    return _look(path, fit)


def factor_names(count: int) -> list[str]:
    """What factors are called that come without names."""
    return [f"factor_{number}" for number in range(1, count + 1)]


def checksum(*, path: Path, size: Size = None, grey: bool | None = None) -> str:
    """SHA-256 of what lies at a path: a file's bytes, or the sorted names and contents of a folder's pictures.

    Raises:
        SourceError: it cannot be read.
    """
    return _checksum(path, _stamp(path))


@functools.lru_cache(maxsize=8)
def _info(path: Path, fit: Fit, stamp: Any) -> Info:
    source = _look(path, fit)
    train, valid, test = (len(order) for order in _orders(path, source).values())
    counts = [] if source.factors is None else (source.factors.max(axis=0) + 1).tolist()
    return replace(
        INFO,
        image_shape=source.image_shape,
        train=train,
        valid=valid,
        test=test,
        description=f"{source.total:,} images of one's own",
        files=str(path),
        factors=dict(zip(factor_names(len(counts)), counts)),
    )


def _look(path: Path, fit: Fit) -> Source:
    if os.path.isdir(path):
        return folders.look(path, fit)
    if not os.path.isfile(path):
        raise wrong(path, "is neither a file nor a folder")
    return arrays.look(path, fit)


def _orders(path: Path, source: Source) -> Mapping[str, NDArray[np.int64]]:
    if source.orders is not None:
        return source.orders
    held_out = max(1, source.total // 10)
    if source.total < 3:
        count = f"{source.total} image" + "s" * (source.total > 1)
        raise wrong(path, f"has {count}, where 3 at least are needed: for training, validation and test")
    order = np.random.default_rng(SEED).permutation(source.total)
    return dict(zip(Splits._fields, np.split(order, [source.total - 2 * held_out, source.total - held_out])))


def _fit(size: Any, grey: Any) -> Fit:
    sides = [size, size] if isinstance(size, int) else size
    if size is not None and not (
        isinstance(sides, list | tuple)
        and len(sides) == 2
        and all(type(side) is int and 1 <= side <= LARGEST for side in sides)
    ):
        raise DataError(
            f"{NAME}: size is {size!r}, where a number of pixels from 1 to {LARGEST}, or [height, width], is needed"
        )
    if grey is not None:
        switch(INFO, "grey", grey)
    return Fit(None if size is None else (sides[0], sides[1]), grey)


# What tells a source from one that was changed.


def _files(path: Path) -> dict[str, Path]:
    """The files at a path by the names that count: a file's own does not."""
    return {name: path / name for name in folders.listing(path).names} if os.path.isdir(path) else {"": path}


def _stamp(path: Path) -> str:
    """Of the names, sizes and times of change of the files."""
    digest = hashlib.sha256()
    for name, file in _files(path).items():
        status = _status(file)
        digest.update(os.fsencode(name) + b"\0%d %d\0" % (status.st_size, status.st_mtime_ns))
    return digest.hexdigest()


@functools.lru_cache(maxsize=8)
def _checksum(path: Path, stamp: str) -> str:
    whole = hashlib.sha256()
    for name, file in sorted(_files(path).items()):
        try:
            with open(file, "rb") as content:
                digest = hashlib.file_digest(content, "sha256")
        except OSError as error:
            raise wrong(file, f"cannot be read ({reason(error)})") from error
        if not name:
            return digest.hexdigest()
        whole.update(os.fsencode(name) + b"\0" + digest.digest())
    return whole.hexdigest()


def _quick_stamp(path: Path) -> Any:
    """Changes with a file, or with the files that are in a folder: for sizes, which are asked for often."""
    status = _status(path)
    if not os.path.isdir(path):
        return status.st_mtime_ns, status.st_size
    return tuple(_status(folder).st_mtime_ns for folder in _folders(path, status.st_mtime_ns))


@functools.lru_cache(maxsize=8)
def _folders(path: Path, changed: int) -> list[Path]:
    """A folder and those in it."""
    inner = {os.path.dirname(name) for name in folders.listing(path).names}
    return sorted({path, *(path / folder for folder in inner), *((path / folder).parent for folder in inner if folder)})


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except (OSError, ValueError) as error:  # the second for what can be no path
        raise wrong(path, f"cannot be read ({reason(error)}){_packed(path)}") from error


def _packed(path: Path) -> str:
    """Names what lies packed beside the place where nothing is."""
    found = [f"{path}{end}" for end in PACKED if os.path.isfile(f"{path}{end}")]
    return f"; packed, it lies there as {', '.join(found)}: unpack it" if found else ""
