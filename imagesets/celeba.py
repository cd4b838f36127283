"""CelebA, Liu et al. (2015): aligned faces and 40 attributes, as torchvision lays them out, in the official partition.

The central 178 x 178 pixels of 178 x 218 are made smaller as torchvision's Resize does it: bilinear, antialiased. The
images of each split are in the order of their names, since the partition is the publisher's, by person.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imagesets import files, pictures, reading, scatter
from imagesets.base import DataError, Info, Splits
from imagesets.cache import New, splits_of, stored
from imagesets.vision import torchvision

if TYPE_CHECKING:
    from PIL.Image import Image

ATTRIBUTES = (
    *("5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose"),
    *("Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses"),
    *("Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache"),
    *("Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks"),
    *("Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick"),
    *("Wearing_Necklace", "Wearing_Necktie", "Young"),
)
SIZES = (32, 64)
WIDTH, HEIGHT = 178, 218  # of the publisher's images

INFO = Info(
    name="celeba",
    image_shape=(3, 64, 64),
    train=162_770,
    valid=19_867,
    test=19_962,
    description="faces of well-known people in colour, with 40 attributes; the splits are the publisher's",
    files="img_align_celeba/*.jpg, list_eval_partition.txt and list_attr_celeba.txt in celeba, downloaded when missing "
    "(1.4 GB, needs the package gdown)",
    sources=("celeba/img_align_celeba", "celeba/list_eval_partition.txt", "celeba/list_attr_celeba.txt"),
    stand_in="sprites",
    factors=dict.fromkeys(ATTRIBUTES, 2),
)


def info(*, size: int = 64) -> Info:
    """Sizes under the option: width and height of the images. Raises DataError where it is neither 32 nor 64."""
    if not isinstance(size, int) or size not in SIZES:
        raise DataError(f"{INFO.name}: size is {size!r}, where {' or '.join(map(str, SIZES))} is needed")
    return replace(INFO, image_shape=(3, size, size))


def load(root: Path, *, size: int = 64) -> Splits:
    """Splits of the folder and the two lists in celeba under `root`; those missing are downloaded.

    Raises:
        DataError: a file is damaged, which is then left alone; or is missing and cannot be downloaded.
    """
    image_shape = info(size=size).image_shape
    folder, partition_path, attributes_path = (root / source for source in INFO.sources)

    def build(new: New) -> None:
        if not all((root / source).exists() for source in INFO.sources):
            if partition_path.exists():  # what is damaged is told before anything is downloaded
                names, _ = partition(partition_path)
                if folder.exists():
                    check_names(folder, names)
            if attributes_path.exists():
                attributes(attributes_path)
            files.fetch(INFO, root, _download)
        names, parts = partition(partition_path)
        check_names(folder, names)
        values = in_order(attributes_path, attributes(attributes_path), names)
        orders = {part: np.flatnonzero(parts == number) for number, part in enumerate(Splits._fields)}
        scatter.annotate(new, orders, "factors", values)
        put, start = scatter.room(new, orders, image_shape), 0
        for images in pictures.read(INFO, folder, names, (WIDTH, HEIGHT), lambda picture: shrunk(picture, size)):
            put(start, images)
            start += len(images)

    lists = [partition_path, attributes_path]
    return splits_of(stored(root, INFO.name, build, options={"size": size}, sources=lists))


def shrunk(picture: Image, size: int) -> NDArray[np.uint8]:
    """The central square of a picture, [3, size, size]."""
    from PIL.Image import Resampling

    top = (HEIGHT - WIDTH) // 2
    square = picture.convert("RGB").crop((0, top, WIDTH, top + WIDTH))
    return np.asarray(square.resize((size, size), Resampling.BILINEAR)).transpose(2, 0, 1)


def partition(path: Path) -> tuple[list[str], NDArray[np.int8]]:
    """Names of the images, sorted, and the split of each: 0, 1 and 2 are train, valid and test.

    Raises:
        DataError: the list cannot be read, or is none of images and splits, or the splits have other sizes.
    """
    split: dict[str, int] = {}
    for number, line in _lines(path):
        fields = line.split()
        if len(fields) != 2 or fields[1] not in ("0", "1", "2"):
            raise _malformed(path, number, line, "a name and 0, 1 or 2 are needed")
        if fields[0] in split:
            raise files.damaged(INFO, path, f"names {fields[0]} a second time in line {number}")
        split[fields[0]] = int(fields[1])
    names = sorted(split)
    parts = np.array([split[name] for name in names], np.int8)
    found, needed = np.bincount(parts, minlength=3).tolist(), [INFO.train, INFO.valid, INFO.test]
    if found != needed:
        raise files.damaged(INFO, path, f"has {found} images of train, valid and test, where {needed} are needed")
    return names, parts


def attributes(path: Path) -> dict[str, bytes]:
    """Of each image, by its name, the 40 attributes, a byte each, 0 or 1.

    Raises:
        DataError: the list cannot be read, or is none of CelebA's attributes, or has another length.
    """
    lines = _lines(path)
    needed = INFO.train + INFO.valid + INFO.test
    _, count = next(lines, (1, ""))
    if count.strip() != str(needed):
        raise _malformed(path, 1, count, f"{needed}, the number of images, is needed")
    _, header = next(lines, (2, ""))
    if tuple(header.split()) != ATTRIBUTES:
        raise _malformed(path, 2, header, "the names of CelebA's 40 attributes are needed")
    value = {"-1": 0, "1": 1}
    found = {}
    for number, line in lines:
        name, *fields = line.split()
        if len(fields) != len(ATTRIBUTES) or not value.keys() >= set(fields):
            raise _malformed(path, number, line, "a name and 40 of -1 and 1 are needed")
        if name in found:
            raise files.damaged(INFO, path, f"names {name} a second time in line {number}")
        found[name] = bytes(value[field] for field in fields)
    if len(found) != needed:
        raise files.damaged(INFO, path, f"has the attributes of {len(found):,} images, where {needed:,} are needed")
    return found


def in_order(path: Path, values: dict[str, bytes], names: list[str]) -> NDArray[np.int8]:
    """The attributes of the named images, [N, 40]. Raises DataError where some have none."""
    if lacking := [name for name in names if name not in values]:
        raise files.damaged(INFO, path, f"lacks the attributes of {_some(lacking)}")
    return np.frombuffer(b"".join(values[name] for name in names), np.int8).reshape(len(names), -1)


def check_names(folder: Path, names: list[str]) -> None:
    """Raises DataError where the folder lacks some of the images."""
    with reading.whole(INFO, folder, "folder of images"):
        present = set(os.listdir(folder))
    if lacking := [name for name in names if name not in present]:
        raise files.damaged(INFO, folder, f"lacks {len(lacking):,} of {len(names):,} images: {_some(lacking)}")


def _some(names: list[str]) -> str:
    return ", ".join(names[: pictures.TOLD]) + (", ..." if len(names) > pictures.TOLD else "")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbers and texts of the lines that are not empty."""
    with reading.whole(INFO, path, "list"), open(path, encoding="ascii", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line


def _malformed(path: Path, number: int, line: str, needed: str) -> DataError:
    begin = line.strip()
    shown = begin if len(begin) <= 40 else f"{begin[:40]}..."
    return files.damaged(INFO, path, f"has {shown!r} in line {number}, where {needed}")


def _download(folder: Path) -> None:
    try:
        torchvision().datasets.CelebA(folder, download=True)
    except Exception as error:  # of gdown, which refuses in its own ways and in several lines
        raise RuntimeError(" ".join(str(error).split()) or type(error).__name__) from error
