"""A page of pictures of `sprites`: what each factor does to each shape, from its first value to its last.

    python -m benchmarks.sprites_page --out docs/sprites.png

Nothing is downloaded. The same page comes out each time.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from imagesets import packed, sprites
from imagesets.factors import FACTORS

STEPS = 8  # at most, of a factor
SHAPES = ("square", "ellipse", "heart")
OTHERS = {"scale": 5, "orientation": 3, "pos_x": 15, "pos_y": 15}  # values of the factors that a row does not show
GAP, MARGIN, HEAD, DPI = 6, 66, 58, 100  # between images, left of them, above a block, in pixels; pixels an inch
CAPTIONS = {
    "scale": "scale: grows about its centre",
    "orientation": "orientation: turns counter-clockwise; the last is the first again",
    "pos_x": "pos_x: moves to the right, a pixel a value",
    "pos_y": "pos_y: moves down, a pixel a value",
}


def image(shape: int, scale: int, orientation: int, pos_x: int, pos_y: int) -> NDArray[np.uint8]:
    """The image of these values' numbers, [64, 64]."""
    sprite = sprites.depth(shape, FACTORS["scale"][scale], FACTORS["orientation"][orientation]) > 0
    rows = sprites.moved(sprite, np.array([pos_x]), np.array([pos_y]))
    return packed.unpack(rows, sprites.INFO.image_shape)[0, 0]


def shown(factor: str) -> list[int]:
    """The numbers of the values that a row shows: evenly spaced, the first and the last among them."""
    count = len(FACTORS[factor])
    return np.linspace(0, count - 1, min(STEPS, count)).round().astype(int).tolist()


def page() -> Figure:
    """A block for each factor, a row for each shape in it, a column for each value; two pixels of the page a pixel."""
    step = 2 * sprites.SIDE + GAP
    block = HEAD + len(SHAPES) * step
    width, height = MARGIN + STEPS * step, len(CAPTIONS) * block
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")

    def text(x: float, y: float, what: str, **style: Any) -> None:
        figure.text(x / width, 1 - y / height, what, va="center", **style)

    for top, (factor, caption) in zip(itertools.count(0, block), CAPTIONS.items()):
        text(4, top + HEAD - 34, caption, fontsize=14, fontweight="bold")
        for column, number in enumerate(shown(factor)):
            left = MARGIN + column * step
            text(left + sprites.SIDE, top + HEAD - 11, f"{FACTORS[factor][number]:.2f}", ha="center", fontsize=11)
            for shape in range(len(SHAPES)):
                pixels = image(shape, **(OTHERS | {factor: number})).repeat(2, axis=0).repeat(2, axis=1)
                bottom = height - (top + HEAD + shape * step) - len(pixels)
                figure.figimage(pixels, left, bottom, cmap="gray", vmin=0, vmax=255)
        for shape, name in enumerate(SHAPES):
            text(4, top + HEAD + shape * step + sprites.SIDE, name, fontsize=12)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the picture, a PNG")
    out = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    page().savefig(out, dpi=DPI, metadata={"Software": None})
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
