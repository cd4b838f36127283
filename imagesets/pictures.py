"""Files of pictures, decoded by PIL in a few threads: it lets other threads run while it decodes."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imagesets import files, reading
from imagesets.base import DataError, Info

if TYPE_CHECKING:
    from PIL.Image import Image

PIECE = 1024  # pictures decoded at a time
TOLD = 3  # wrong files that an error names
THREADS = 8


def read(
    info: Info,
    folder: Path,
    names: Sequence[str],
    size: tuple[int, int],
    prepare: Callable[[Image], NDArray[np.uint8]],
) -> Iterator[NDArray[np.uint8]]:
    """Images of the named files below a folder, in pieces, [n, ...].

    Args:
        info: of the data set, for what is said of wrong files.
        folder: where they lie.
        names: of the files, relative to the folder.
        size: width and height that each must have.
        prepare: an image, given the decoded picture; called from several threads.

    Raises:
        DataError: some files cannot be read, are no whole pictures, or have another size; told after the last.
    """

    def image(name: str) -> NDArray[np.uint8] | str:
        picture = decode(folder / name, size)
        return picture if isinstance(picture, str) else prepare(picture)

    return pieces(names, image, lambda finding: files.damaged(info, folder, finding))


def pieces(
    names: Sequence[str],
    image: Callable[[str], NDArray[np.uint8] | str],
    wrong: Callable[[str], DataError],
    piece: int | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Images of the named files, in pieces, [n, ...].

    Args:
        names: of the files.
        image: that of a name, or what is wrong with it; called from several threads.
        wrong: the error of a finding, as in "has wrong pictures, 2 of 10: ...".
        piece: how many at a time; None is PIECE.

    Raises:
        DataError: that of `wrong`, after the last picture.
    """
    findings: list[str] = []
    piece = piece or PIECE
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        for start in range(0, len(names), piece):
            chosen = names[start : start + piece]
            images = []
            for name, found in zip(chosen, pool.map(image, chosen)):
                if isinstance(found, str):
                    findings.append(f"{name} ({found})")
                else:
                    images.append(found)
            if not findings:
                yield np.stack(images)
    if findings:
        named = ", ".join(findings[:TOLD]) + (", ..." if len(findings) > TOLD else "")
        raise wrong(f"has wrong pictures, {len(findings):,} of {len(names):,}: {named}")


def decode(path: Path, size: tuple[int, int] | None = None, formats: tuple[str, ...] = ("JPEG", "PNG")) -> Image | str:
    """A picture in one of the formats, or what is wrong with it, as in "is 3 x 4, where 2 x 2 is needed"."""
    from PIL import Image, UnidentifiedImageError

    try:
        content = path.read_bytes()
        picture = Image.open(io.BytesIO(content), formats=formats)
        if size is not None and picture.size != size:
            return f"is {picture.width} x {picture.height}, where {size[0]} x {size[1]} is needed"
        if picture.format == "PNG":  # its checksums, which decoding does not look at
            picture.verify()
            picture = Image.open(io.BytesIO(content))
        picture.load()
    except UnidentifiedImageError:
        return f"is neither {' nor '.join(formats)}"
    except Exception as error:  # a damaged file can raise nearly anything
        return reading.reason(error)
    return picture
