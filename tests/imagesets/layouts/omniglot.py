"""Omniglot's two folders, with five characters for background and two for evaluation; and chardata.mat, on its own."""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.io import savemat

from imagesets import omniglot

CHARACTERS = {
    "images_background": {"Latin": 2, "Greek": 3},
    "images_evaluation": {"Angelic": 2},
}


def make(folder: Path) -> None:
    """Strokes at random, twenty drawings of each character: black on white, a bit a pixel."""
    random = np.random.default_rng(2)
    number = 0
    for part, alphabets in CHARACTERS.items():
        for alphabet, characters in alphabets.items():
            for character in range(1, characters + 1):
                number += 1
                where = folder / "omniglot-py" / part / alphabet / f"character{character:02}"
                where.mkdir(parents=True)
                for drawer in range(1, 21):
                    picture = Image.new("1", (105, 105), 1)
                    stroke = [tuple(point) for point in random.integers(5, 100, (4, 2)).tolist()]
                    ImageDraw.Draw(picture).line(stroke, fill=0, width=3)
                    picture.save(where / f"{number:04}_{drawer:02}.png")


def make_chardata(folder: Path) -> None:
    """Image i, counted over both sets, has (i + 3 row + 7 column) % 86 / 85 and is of alphabet i % 50."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for prefix, start, stop in (("", 0, 60), ("test", 60, 80)):
        column, row, i = np.ogrid[:28, :28, start:stop]  # MATLAB's vectors run down the columns
        index = np.arange(start, stop)
        arrays |= {
            f"{prefix}data": ((i + 3 * row + 7 * column) % 86 / 85).reshape(784, -1),
            f"{prefix}target": (np.arange(50)[:, None] == index % 50).astype(float),
            f"{prefix}targetchar": index[None] % 20 + 1.0,
        }
    savemat(folder / "chardata.mat", arrays, do_compression=True)


def shrink(monkeypatch) -> None:
    monkeypatch.setattr(omniglot, "INFO", dataclasses.replace(omniglot.INFO, train=80, valid=20, test=40))
    monkeypatch.setattr(omniglot, "CHARDATA", dataclasses.replace(omniglot.CHARDATA, train=45, valid=15, test=20))
