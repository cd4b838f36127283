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
from imagesets.base import Info

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

    findings: list[str] = []
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        for start in range(0, len(names), PIECE):
            piece = names[start : start + PIECE]
            images = []
            for name, found in zip(piece, pool.map(image, piece)):
                if isinstance(found, str):
                    findings.append(f"{name} ({found})")
                else:
                    images.append(found)
            if not findings:
                yield np.stack(images)
    if findings:
        named = ", ".join(findings[:TOLD]) + (", ..." if len(findings) > TOLD else "")
        raise files.damaged(info, folder, f"has wrong pictures, {len(findings):,} of {len(names):,}: {named}")


def decode(path: Path, size: tuple[int, int]) -> Image | str:
    """A JPEG or PNG picture, or what is wrong with it, as in "is 3 x 4, where 2 x 2 is needed"."""
    from PIL import Image, UnidentifiedImageError

    try:
        content = path.read_bytes()
        picture = Image.open(io.BytesIO(content), formats=("JPEG", "PNG"))
        if picture.size != size:
            return f"is {picture.width} x {picture.height}, where {size[0]} x {size[1]} is needed"
        if picture.format == "PNG":  # its checksums, which decoding does not look at
            picture.verify()
            picture = Image.open(io.BytesIO(content))
        picture.load()
    except UnidentifiedImageError:
        return "is neither JPEG nor PNG"
    except Exception as error:  # a damaged file can raise nearly anything
        return reading.reason(error)
    return picture
