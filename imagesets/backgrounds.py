"""Digits before backgrounds, in pairs of streams: the MNIST variations of the conjoint models, which have no paper.

A pair is one digit drawn twice. Each of its two streams has a list of styles, one of which is drawn for each image,
uniformly and independently of the other stream's. What the streams share is then the digit, with all of its shape, and
what is private to a stream is its style. Pairs are by index here; pairing by target is done where batches are drawn.

The splits are those of the digits' own data set, taken over before anything is composed.
"""

import difflib
import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesets.base import DataError, Info, Splits
from imagesets.cache import New, splits_of, stored
from imagesets.checks import whole

SIDE = 28  # pixels of a digit's image and of its background
PAIR = [["horizontal"], ["checker"]]  # styles of the streams by default: one each
CHUNK = 1_000  # images composed at a time
ALIASES = {"trippy": "mosaic"}  # the style's name in the first code for these sets

Grey = NDArray[np.uint8]


def load(
    info: Info, root: Path, source: Callable[[], Splits], styles: Sequence[Sequence[str]], threshold: int, seed: int
) -> Splits:
    """Pairs made of the digits of another data set, split as they are there.

    Args:
        info: of the data set of pairs.
        root: the data folder.
        source: gives the digits, images [N, 1, 28, 28] and labels; asked only where the pairs are not stored yet.
        styles: of each of the two streams.
        threshold: grey value that a pixel of a digit must exceed to hide the background.
        seed: of the styles that are drawn.

    Returns:
        Images [N, 2, 1, 28, 28], labels the digit, and factors [N, 3]: the digit, and the index of each stream's style
        in that stream's list.

    Raises:
        DataError: an option is wrong, or `source` raises it.
    """
    check(info, styles, threshold, seed)
    chosen = [[ALIASES.get(style, style) for style in stream] for stream in styles]

    def build(new: New) -> None:
        pictures = [np.stack([picture(style) for style in stream])[:, None] for stream in chosen]  # [styles, 1, 28, 28]
        for part, (name, digits) in enumerate(source()._asdict().items()):
            count = len(digits.images)
            labels, factors = new(f"{name}_labels", (count,), np.int64), new(f"{name}_factors", (count, 3), np.int64)
            images = new(f"{name}_images", (count, 2, 1, SIDE, SIDE), np.uint8)
            labels[:] = factors[:, 0] = digits.labels
            for stream in range(2):
                factors[:, 1 + stream] = draw(seed, part, stream, count, len(chosen[stream]))
                for start in range(0, count, CHUNK):
                    rows = slice(start, start + CHUNK)
                    behind = pictures[stream][factors[rows, 1 + stream]]
                    images[rows, stream] = compose(digits.images[rows], behind, threshold)

    options = {"styles": chosen, "threshold": threshold, "seed": seed}
    sources = [root / file for file in info.sources]
    return splits_of(stored(root, info.name, build, options=options, sources=sources))


def check(info: Info, styles: Any, threshold: Any, seed: Any) -> Info:
    """What is known of the data set under these options.

    Raises:
        DataError: there are not two lists of styles, a style is not known or is named twice in its list, or a number is
            out of its range.
    """
    if not _is_list(styles) or len(styles) != 2 or not all(_is_list(stream) and stream for stream in styles):
        raise DataError(
            f"{info.name}: styles is {styles!r}, where two lists are needed, the styles of each stream, as in {PAIR}"
        )
    for number, stream in enumerate(styles, 1):
        for style in stream:
            if style not in [*STYLES, *ALIASES]:
                close = difflib.get_close_matches(str(style).lower(), [*STYLES, *ALIASES], n=1)
                hint = f". Did you mean {close[0]!r}?" if close else ""
                raise DataError(f"{info.name}: style {style!r} is not known; known: {', '.join(sorted(STYLES))}{hint}")
        if len({ALIASES.get(style, style) for style in stream}) < len(stream):
            raise DataError(f"{info.name}: the styles of stream {number} are {stream!r}, where each is needed once")
    whole(info, "threshold", threshold, 0, 254)  # at 255 no digit would be left
    whole(info, "seed", seed, 0, 2**63 - 1)
    return replace(info, factors={"digit": 10, "style_1": len(styles[0]), "style_2": len(styles[1])})


def draw(seed: int, part: int, stream: int, count: int, styles: int) -> NDArray[np.int64]:
    """A style for each image of a stream: uniform on 0..styles-1, [count].

    The splits and the streams have random numbers of their own, so that neither sizes nor lists of the one move the
    styles of the other.
    """
    random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(part, stream)))
    return random.integers(styles, size=count)


def compose(digits: Grey, background: Grey, threshold: int = 0) -> Grey:
    """The digits' own grey where it exceeds the threshold, and the background elsewhere; shapes broadcast."""
    return np.where(digits > threshold, digits, background)


@functools.cache
def picture(style: str) -> Grey:
    """The background of a style or of its other name, [28, 28], row i and column j; made once, not to be written to."""
    grey = STYLES[ALIASES.get(style, style)]()
    grey.setflags(write=False)
    return grey


def _horizontal() -> Grey:
    """White where i is even."""
    return _stripes(1, 0)


def _vertical() -> Grey:
    """White where j is even."""
    return _stripes(0, 1)


def _checker() -> Grey:
    """White where i + j is even."""
    return _stripes(1, 1)


def _stripes(of_i: int, of_j: int) -> Grey:
    i, j = np.indices((SIDE, SIDE))
    return np.where((of_i * i + of_j * j) % 2 == 0, 255, 0).astype(np.uint8)


def _mosaic() -> Grey:
    """Grey of three waves: with t_k = (k - 14) 8 pi / 28 and M = t_i t_j, sin(M t_j), cos(t_j) cos(M) and -cos(M).

    A wave c becomes the byte of 128 c + 127. At c = -1 that is -1, which is clipped here; the first code for this style
    let it wrap around to 255.
    """
    t = (np.arange(SIDE) - SIDE // 2) * 8 * np.pi / SIDE
    m = np.outer(t, t)
    waves = np.stack([np.sin(m * t), np.cos(t) * np.cos(m), -np.cos(m)])
    red, green, blue = np.clip(np.trunc(128 * waves + 127), 0, 255)
    return np.rint(0.2125 * red + 0.7154 * green + 0.0721 * blue).astype(np.uint8)


def _mandelbrot() -> Grey:
    """How long z^2 + c stays in |z| < 2, and 0 where it still does after 1,000 iterations; the real axis runs down.

    The 200x200 counts are scaled by their maximum, 896, before the resize, as they are defined: the counts are small
    but for a few, so that the picture is dark, its brightest pixel 14 of 255.
    """
    from PIL import Image

    counts = escape_counts(np.linspace(-1.5, 0.5, 200), np.linspace(-1.5, 1.5, 200), iterations=1_000)
    scaled = Image.fromarray((255 * counts / counts.max()).astype(np.float32))
    resized = np.asarray(scaled.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return np.rint(np.clip(resized, 0, 255)).astype(np.uint8)  # bicubic weights overshoot at edges


def escape_counts(real: NDArray[np.float64], imaginary: NDArray[np.float64], iterations: int) -> NDArray[np.int64]:
    """The last k below `iterations` with |z_k| < 2, where z_0 = 0; 0 for a point that never leaves. [real, imaginary].

    In real arithmetic, which rounds alike on every machine: complex products need not, and the counts are chaotic.
    """
    a, b = (c.ravel() for c in np.meshgrid(real, imaginary, indexing="ij"))
    counts = np.zeros(a.size, np.int64)
    left = np.arange(a.size)  # the points that have not left yet; x and y are the parts of their z
    x, y = np.zeros(a.size), np.zeros(a.size)
    for k in range(1, iterations):
        x, y = x * x - y * y + a, 2 * x * y + b
        inside = x * x + y * y < 4
        x, y, a, b = (values[inside] for values in (x, y, a, b))
        left = left[inside]
        counts[left] = k
    counts[left] = 0
    return counts.reshape(len(real), len(imaginary))


def _black() -> Grey:
    return np.zeros((SIDE, SIDE), np.uint8)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


STYLES: dict[str, Callable[[], Grey]] = {
    "horizontal": _horizontal,
    "vertical": _vertical,
    "checker": _checker,
    "mosaic": _mosaic,
    "mandelbrot": _mandelbrot,
    "black": _black,
}
