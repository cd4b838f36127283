"""Omniglot, Lake, Salakhutdinov & Tenenbaum (2015), at 28 x 28, from either of two sources.

`images` are the publisher's PNGs of 105 x 105 pixels, as torchvision lays them out: inverted, so that ink is 255, and
made smaller by averaging areas. A label is a character; those of the test set, which is the publisher's evaluation
set, are in no other split. `chardata` is the file of Burda, Grosse & Salakhutdinov (2016), which the literature on
VAEs uses, with its own test set. A label is an alphabet, and all splits have the same fifty.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imagesets import files, matlab, pictures, reading, scatter
from imagesets.base import DataError, Info, Splits
from imagesets.cache import New, splits_of, stored
from imagesets.vision import torchvision

if TYPE_CHECKING:
    from PIL.Image import Image

INFO = Info(
    name="omniglot",
    image_shape=(1, 28, 28),
    train=17_280,
    valid=2_000,
    test=13_180,
    description="handwritten characters of 50 alphabets in grey; valid is drawn from the 19,280 images of the "
    "background set, test is the evaluation set",
    files="omniglot-py/images_{background,evaluation}/<alphabet>/<character>/*.png, downloaded when missing (16 MB); "
    "or chardata.mat, with the option source: chardata",
    sources=("omniglot-py/images_background", "omniglot-py/images_evaluation"),
    stand_in="mnist5k",
)
CHARDATA = replace(
    INFO,
    train=23_000,
    valid=1_345,
    test=8_070,
    description="handwritten characters of 50 alphabets in grey; valid is drawn from the file's 24,345 training "
    "images, test is its own",
    files="chardata.mat, downloaded when missing",
    sources=("chardata.mat",),
)
URL = "https://github.com/yburda/iwae/raw/master/datasets/OMNIGLOT/chardata.mat"
SOURCES = ("images", "chardata")
SEED = 1_623  # of the split, which belongs to the data set
SIDE = 105  # pixels of the publisher's images
DRAWERS = 20  # images of each character
ALPHABETS = 50
PIECE = 4096  # images of chardata.mat converted at a time


def info(*, source: str = "images") -> Info:
    """Sizes under the option. Raises DataError where it is neither images nor chardata."""
    if source not in SOURCES:
        raise DataError(f"{INFO.name}: source is {source!r}, where {' or '.join(SOURCES)} is needed")
    return INFO if source == "images" else CHARDATA


def load(root: Path, *, source: str = "images") -> Splits:
    """Splits of the two folders in omniglot-py under `root`, or of chardata.mat there; what is missing is downloaded.

    Raises:
        DataError: a file is damaged, which is then left alone; or is missing and cannot be downloaded.
    """
    chosen = info(source=source)
    build = _from_images if source == "images" else _from_chardata
    stamped = [] if source == "images" else [root / name for name in chosen.sources]
    options = {"source": source}
    return splits_of(stored(root, chosen.name, lambda new: build(root, new), options=options, sources=stamped))


def _from_images(root: Path, new: New) -> None:
    folders = [root / source for source in INFO.sources]
    counts = (INFO.train + INFO.valid, INFO.test)
    if not all(folder.exists() for folder in folders):
        for folder, count in zip(folders, counts):
            if folder.exists():  # what is damaged is told before anything is downloaded
                for _ in pictures.read(INFO, folder, listed(folder, count)[0], (SIDE, SIDE), shrunk):
                    pass
        _fetch_images(root)
    seen = 0  # characters
    for folder, count, orders in zip(folders, counts, (scatter.draw(INFO, SEED), scatter.keep(INFO))):
        names, labels = listed(folder, count)
        put, start = scatter.room(new, orders, INFO.image_shape), 0
        for images in pictures.read(INFO, folder, names, (SIDE, SIDE), shrunk):
            put(start, images)
            start += len(images)
        scatter.annotate(new, orders, "labels", seen + labels)
        seen += int(labels[-1]) + 1


def listed(folder: Path, count: int) -> tuple[list[str], NDArray[np.int64]]:
    """The images of one set: their names below its folder, sorted, and the indices of their characters.

    Raises:
        DataError: the folder cannot be read, or does not hold `count` images, 20 of each character.
    """
    names: list[str] = []
    labels: list[int] = []
    odd: list[str] = []
    with reading.whole(INFO, folder, "folder of images"):
        characters = sorted(c for a in folder.iterdir() if a.is_dir() for c in a.iterdir() if c.is_dir())
        for label, character in enumerate(characters):
            drawn = sorted(p for p in character.glob("*.png") if not p.name.startswith("."))
            names += [path.relative_to(folder).as_posix() for path in drawn]
            labels += [label] * len(drawn)
            if len(drawn) != DRAWERS:
                odd.append(f"{character.relative_to(folder).as_posix()} has {len(drawn)}, where {DRAWERS} are needed")
    if len(names) != count or odd:
        which = f": {odd[0]}" if odd else ""
        raise files.damaged(INFO, folder, f"holds {len(names):,} images, where {count:,} are needed{which}")
    return names, np.array(labels, np.int64)


def shrunk(picture: Image) -> NDArray[np.uint8]:
    """Black on white, 105 x 105, to ink 255, [1, 28, 28]: the mean over each of 28 x 28 equal areas.

    An area is 3.75 pixels wide. In quarters of a pixel all weights are whole numbers and all sums exact; a mean is
    never halfway between two grey levels, so that the images are the same on every machine.
    """
    ink = 255 - np.asarray(picture.convert("L"), np.float32)
    sums = _OVERLAP @ ink @ _OVERLAP.T  # 15 x 15 quarters of pixels
    return np.rint(sums / 225).astype(np.uint8)[None]


def _overlap(pixels: int, areas: int) -> NDArray[np.float32]:
    """By how many quarters of a pixel each area overlaps each pixel, [areas, pixels]."""
    quarters = np.kron(np.eye(pixels), np.ones(4)).reshape(pixels, areas, -1)  # [pixels, areas, quarters of an area]
    return quarters.sum(-1).T.astype(np.float32)


_OVERLAP = _overlap(SIDE, 28)


def _fetch_images(root: Path) -> None:
    def download(folder: Path) -> None:
        for source, background in zip(INFO.sources, (True, False)):
            if not (root / source).exists():
                torchvision().datasets.Omniglot(folder, background=background, download=True)

    try:
        files.fetch(INFO, root, download)
    except DataError as error:
        other = root / CHARDATA.sources[0]
        if not other.exists():
            raise
        raise DataError(f"{error}; or read {other}, which is there, with the option source: chardata") from error


def _from_chardata(root: Path, new: New) -> None:
    path = root / CHARDATA.sources[0]
    files.fetch(
        CHARDATA, root, lambda folder: torchvision().datasets.utils.download_url(URL, folder, CHARDATA.sources[0])
    )
    sizes = (CHARDATA.train + CHARDATA.valid, CHARDATA.test)
    keys = (("data", "target"), ("testdata", "testtarget"))
    shapes: dict[str, tuple[int, ...]] = {}
    for (images, alphabets), count in zip(keys, sizes):
        shapes |= {images: (28 * 28, count), alphabets: (ALPHABETS, count)}
    arrays = matlab.read(CHARDATA, path, shapes)
    for images, alphabets in keys:
        _check_values(path, arrays, images, alphabets)
    for (images, alphabets), count, orders in zip(keys, sizes, (scatter.draw(CHARDATA, SEED), scatter.keep(CHARDATA))):
        put = scatter.room(new, orders, CHARDATA.image_shape)
        for start in range(0, count, PIECE):
            values = arrays[images][:, start : start + PIECE]
            columns = np.rint(255 * values.T).astype(np.uint8).reshape(-1, 1, 28, 28)  # [n, 1, W, H], as MATLAB has it
            put(start, columns.swapaxes(2, 3))
        scatter.annotate(new, orders, "labels", arrays[alphabets].argmax(axis=0))


def _check_values(path: Path, arrays: dict[str, NDArray[Any]], images: str, alphabets: str) -> None:
    low, high = arrays[images].min(), arrays[images].max()
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise files.damaged(CHARDATA, path, f"holds {images} from {low:g} to {high:g}, where 0 to 1 is needed")
    target = arrays[alphabets]
    if not ((target == 0) | (target == 1)).all() or not (target.sum(axis=0) == 1).all():
        raise files.damaged(CHARDATA, path, f"holds {alphabets} whose columns are not a 1 among zeros")
