"""One's own images as a folder of pictures: flat, or a folder a class; `train`, `valid` and `test` may hold such each.

The labels count the sorted names of the classes. Pictures are turned upright as they say they were taken. What would
have to be guessed is refused: transparent pixels, several frames, CMYK, more than 8 bits of grey.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imagesets import pictures
from imagesets.base import Splits
from imagesets.reading import reason
from imagesets.source import PIECE, Fit, Source, fitted, wrong

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "TIFF")  # some that Pillow knows run other programs
IGNORED = ("thumbs.db", "desktop.ini")  # beside names that begin with a dot
ALIASES = {"val", "validation"}  # of valid, which would be taken for classes


class Listing(NamedTuple):
    """Pictures below a folder: their names relative to it; the class of each, or none; how many each split has."""

    names: list[str]
    classes: list[str]
    parts: dict[str, int] | None


def listing(path: Path) -> Listing:
    """The pictures of a folder, of which only the names are read.

    Raises:
        SourceError: the folder cannot be read, or is not laid out as above.
    """
    folders, _ = _entries(path, "")
    given = {*folders} & {*Splits._fields}
    if given == {*folders} == {*Splits._fields}:
        found = [_pictures(path, part) for part in Splits._fields]
        if len({bool(part.classes) for part in found}) > 1:
            raise wrong(path, "has classes in some of train, valid and test only")
        names = [name for part in found for name in part.names]
        classes = [name for part in found for name in part.classes]
        return Listing(names, classes, {part: len(of.names) for part, of in zip(Splits._fields, found)})
    if given and {*folders} <= {*Splits._fields} | ALIASES:
        raise wrong(path, f"has the folders {', '.join(folders)}, where train, valid and test are needed")
    return _pictures(path, "")


def look(path: Path, fit: Fit) -> Source:
    """All that a folder holds, but for the pixels; of pictures, only the first is read.

    Raises:
        SourceError: as for `listing`; or the first picture is none.
    """
    names, classes, parts = listing(path)
    with _bombs_refused():
        first = _picture(path / names[0])
    if isinstance(first, str):
        raise wrong(path, f"has wrong pictures: {names[0]} ({first})")
    image_shape = fit.shape(1 if first.mode == "L" else 3, first.height, first.width)

    def image(name: str) -> NDArray[np.uint8] | str:
        picture = _picture(path / name)
        if isinstance(picture, str):
            return picture
        if fit.size is None and picture.size != first.size:
            return f"is {_size(picture)}, where {names[0]} is {_size(first)}; give size, as in size: 32"
        if fit.grey is None and picture.mode != "L" and first.mode == "L":
            return f"is in colour, where {names[0]} is grey; give grey: true, or grey: false"
        return fitted(picture, image_shape)

    def pieces() -> Iterator[NDArray[np.uint8]]:
        at_once = min(pictures.PIECE, max(pictures.THREADS, PIECE // int(np.prod(image_shape))))
        with _bombs_refused():
            yield from pictures.pieces(names, image, lambda finding: wrong(path, finding), at_once)

    numbers = {name: number for number, name in enumerate(sorted(set(classes)))}
    labels = np.array([numbers[name] for name in classes], np.int64) if classes else None
    orders = None
    if parts is not None:
        ends = np.cumsum(list(parts.values()))
        orders = dict(zip(parts, np.split(np.arange(len(names)), ends[:-1])))
    return Source(len(names), image_shape, pieces, orders, labels, names=names)


def _pictures(path: Path, below: str) -> Listing:
    """Those of a folder without splits: either its own, or those of its folders, which are classes."""
    folders, files = _entries(path, below)
    if folders and files:
        raise wrong(
            path / below, f"has pictures ({files[0]}) beside folders ({folders[0]}), where one or the other is needed"
        )
    if not folders and not files:
        raise wrong(path / below, "has no pictures")
    if files:
        return Listing([os.path.join(below, name) for name in files], [], None)
    names, classes = [], []
    for folder in folders:
        inner, files = _entries(path, os.path.join(below, folder))
        if inner or not files:
            finding = f"has a folder, {inner[0]}" if inner else "has no pictures"
            raise wrong(
                path / below / folder, f"{finding}; a folder in {path / below} is a class, and holds pictures only"
            )
        names += [os.path.join(below, folder, name) for name in files]
        classes += [folder] * len(files)
    return Listing(names, classes, None)


def _entries(path: Path, below: str) -> tuple[list[str], list[str]]:
    """Sorted names of the folders and of the files in a folder, without those that systems leave there."""
    folders: list[str] = []
    files: list[str] = []
    try:
        with os.scandir(path / below) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.name.lower() not in IGNORED:
                    (folders if entry.is_dir() else files).append(entry.name)
    except OSError as error:
        raise wrong(path / below, f"cannot be read ({reason(error)})") from error
    return sorted(folders), sorted(files)


def _picture(path: Path) -> Image | str:
    """A file's picture in grey (L) or RGB, upright; or what is wrong with it."""
    if not os.path.isfile(path):
        return "is no file"
    picture = pictures.decode(path, formats=FORMATS)
    if isinstance(picture, str):
        return picture
    try:
        return _plain(picture)
    except Exception as error:  # what a picture says of itself can be damaged too
        return reason(error)


def _plain(picture: Image) -> Image | str:
    from PIL import ImageOps

    if getattr(picture, "is_animated", False) and picture.format != "MPO":  # a photo with its preview
        return "has several frames, where one is needed"
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("L", "RGB") and "transparency" not in picture.info:
        return picture
    if picture.mode == "1":
        return picture.convert("L")
    if picture.mode not in ("L", "LA", "RGB", "RGBA", "P", "PA"):
        return f"has pixels of type {picture.mode}, where grey or RGB of 8 bits is needed"
    opaque = picture.convert("RGBA")
    if opaque.getchannel("A").getextrema() != (255, 255):
        return "has transparent pixels, where a background is needed"
    return opaque.convert("L" if picture.mode in ("L", "LA") else "RGB")


def _size(picture: Image) -> str:
    return f"{picture.width} x {picture.height}"


@contextlib.contextmanager
def _bombs_refused() -> Iterator[None]:
    """Makes an error of Pillow's warning of a picture with too many pixels, and drops its others."""
    from PIL.Image import DecompressionBombWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", DecompressionBombWarning)
        yield
