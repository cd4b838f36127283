"""What figures share: colours, widths, words, and how a picture is begun, noted and saved.

Colours are those of Okabe & Ito (2008), which the colour-blind can tell apart; marks differ in shape too, for print.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from analysis.figures.results import Results
from study.record.folder import RunError
from study.spec.measures import measure as known
from study.trial import snapshot
from study.trial.files import unwritable, write_whole

BLUE, ORANGE, GREEN, VERMILION, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#8C8C8C"
RUNS = [(BLUE, "o"), (VERMILION, "s"), (GREEN, "^"), (ORANGE, "D"), (PURPLE, "v"), (GREY, "P")]  # of several, each
CLASSES = (
    "#332288",
    "#88CCEE",
    "#44AA99",
    "#117733",
    "#999933",
    "#DDCC77",
    "#CC6677",
    "#882255",
    "#AA4499",
    "#777777",
)  # of what has no order, ten at most: Tol's muted scheme, with a darker grey
ORDERED, SIGNED = "viridis_r", "coolwarm"  # colour maps, of numbers and of numbers on both sides of 0
WIDTH = 6.5  # inches: a page's text
SCREEN, COLOURS = 100, 48  # of what moves: dots an inch, and how many colours all its frames have together, if not said
GAP = 2  # pixels between the tiles of a sheet
FAR = 8.0  # median deviations below the median: from there on a value is marked at the edge of an axis


def word(measure: str) -> str:
    """A measure's name in a title."""
    return known(measure).title


def label(measure: str, part: str = "validation") -> str:
    """A measure on an axis, with its unit, taken on that part of the data."""
    title, unit = known(measure).title, known(measure).unit
    return f"{part} {title} [nats / image]" if unit == "nats" else f"{part} {title}"


def short(value: float) -> str:
    """A number where there is little room: two digits that count."""
    return f"{float(f'{value:.2g}') + 0.0:g}"  # without a sign of 0


def run_style(index: int) -> tuple[str, str]:
    """Colour and marker of one run among several."""
    return RUNS[index % len(RUNS)]


def floor(values: NDArray[np.float64]) -> float:
    """The smallest value that an axis has to show: those FAR below the median would flatten all others.

    The best values are the largest, and are always shown.

    Args:
        values: [N]; what is not finite does not count.

    Returns:
        One of the values; NaN where none is finite.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return float("nan")
    middle = np.median(finite)
    deviation = np.median(np.abs(finite - middle))
    near = finite[finite >= middle - FAR * deviation] if deviation > 0 else finite
    return float(near.min())


def dodge(values: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Offsets across an axis that keep marks of near values apart: by turns none, up and down, in their order, [N].

    Args:
        values: [N].
        width: of an offset.
    """
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return width * np.array([0.0, 1.0, -1.0])[ranks % 3]


def limit(ax: Axes, values: NDArray[np.float64], low: float) -> None:
    """An axis of values from `low` on, with room for `mark_below` where some lie below."""
    if np.isfinite(low):
        high = values[np.isfinite(values)].max()
        height = (high - low) or 1.0
        ax.set_ylim(low - (0.18 if (values < low).any() else 0.08) * height, high + 0.08 * height)


def say_below(ax: Axes, values: NDArray[np.float64]) -> None:
    """Says of curves that some of their values lie below the axis, where any do."""
    if (values < ax.get_ylim()[0]).any():
        where: dict[str, Any] = {"transform": ax.transAxes, "ha": "right", "va": "bottom", "fontsize": "x-small"}
        plate = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8}  # a curve may pass behind
        ax.text(0.99, 0.01, "some values lie below", color=GREY, bbox=plate, **where)


def limit_from_above(ax: Axes, values: NDArray[np.float64]) -> None:
    """An axis of values that fall, without those FAR above the median, which it says; the smallest are all shown."""
    high = -floor(-values)
    if np.isfinite(high):
        low = values[np.isfinite(values)].min()
        margin = 0.08 * ((high - low) or 1.0)
        ax.set_ylim(low - margin, high + margin)
        if (values > high).any():
            where: dict[str, Any] = {"transform": ax.transAxes, "ha": "right", "va": "top", "fontsize": "x-small"}
            ax.text(0.99, 0.99, "some lie above", color=GREY, **where)


def mark_below(ax: Axes, places: NDArray, **look: Any) -> None:
    """Triangles that point down at the lower edge, where values lie below the axis; one of several says of how many.

    Args:
        ax: with the values upwards.
        places: on the other axis, [N].
        look: as for `plot`.
    """
    shape: dict[str, Any] = {"marker": "v", "linestyle": "", "markersize": 5, "zorder": 5}
    different, counts = np.unique(places, return_counts=True)
    ax.plot(different, np.full(len(different), 0.05), transform=ax.get_xaxis_transform(), **{**shape, **look})
    where: dict[str, Any] = {"xycoords": ax.get_xaxis_transform(), "textcoords": "offset points"}
    for place, count in zip(different, counts):
        if count > 1:
            ax.annotate(rf"$\times${count}", (place, 0.05), (4, 0), ha="left", va="center", fontsize="x-small", **where)


def canvas(height: float) -> Figure:
    """An empty picture of a page's width; the height is in inches."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def one_axes(height: float) -> tuple[Figure, Axes]:
    """A picture of one plot."""
    figure = canvas(height)
    ax = figure.add_subplot()
    ax.spines[["top", "right"]].set_visible(False)
    return figure, ax


def panels(count: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """A picture of so many plots, so many in a row, each of that height in inches."""
    rows, columns = -(-count // columns), min(columns, count)
    figure = canvas(rows * height)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[count:]:
        ax.set_visible(False)
    return figure, axes[:count]


def note(figure: Figure, several: Sequence[Results]) -> None:
    """A line below: whose numbers these are, and what their ELBO is."""
    names = ", ".join(results.name for results in several)
    figure.supxlabel(f"{names}: {several[0].kind}", x=0.99, ha="right", fontsize="x-small", color=GREY)


def check_folder(folder: Path) -> None:
    """Raises RunError where pictures cannot be written into a folder, which need not be there yet."""
    if reason := unwritable(folder):
        raise RunError(f"cannot write {folder}: {reason}; name another folder with --out")


def save(figure: Figure, path: Path) -> Path:
    """Writes a picture whole, in the format that its path ends in. Raises RunError where it cannot be written."""
    suffix = path.suffix.removeprefix(".")
    return _written(path, lambda temporary: figure.savefig(temporary, format=suffix, dpi=200))


def _written(path: Path, write: Callable[[Path], Any]) -> Path:
    try:
        write_whole(path, write)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; name another folder with --out") from None
    return path


class Animation(NamedTuple):
    """A picture that moves."""

    frames: list[NDArray[np.uint8]]  # each [height, width, 3]
    milliseconds: int  # that each is shown
    colours: int = COLOURS  # of all together, 256 at most


def rendered(figure: Figure, changes: Iterable[Any]) -> Iterator[NDArray[np.uint8]]:
    """A picture's pixels after each change, where the first one says how its parts are laid out, [height, width, 3]."""
    figure.set_dpi(SCREEN)
    agg = figure.canvas
    assert isinstance(agg, FigureCanvasAgg)
    for _ in changes:
        agg.draw()
        figure.set_layout_engine("none")
        yield np.asarray(agg.buffer_rgba())[..., :3].copy()


def save_animation(animation: Animation, path: Path) -> Path:
    """Writes a GIF whole, which begins anew at its end. Raises RunError where it cannot be written."""
    palette = Image.fromarray(np.concatenate(animation.frames[:: max(1, len(animation.frames) // 8)])).quantize(
        animation.colours
    )
    pictures = [Image.fromarray(frame) for frame in animation.frames]
    first, *others = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in pictures]
    shown: dict[str, Any] = {"duration": animation.milliseconds, "loop": 0, "append_images": others, "save_all": True}
    return _written(path, lambda temporary: first.save(temporary, format="GIF", **shown))


def draw_sheet(
    ax: Axes,
    pixels: NDArray[np.uint8],
    title: str,
    rows: Sequence[str] = (),
    gap: int = GAP,
    columns: Sequence[str] = (),
) -> None:
    """Pictures as tiles, [rows, columns, ..., C, H, W], with names of rows and columns where there are such."""
    tiles = snapshot.sheet(pixels, gap=gap)
    ax.imshow(tiles, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_title(title)
    ax.tick_params(length=0)
    if rows:
        height = pixels.shape[-2]
        ax.set_yticks([gap + row * (height + gap) + height / 2 for row in range(len(rows))], rows)
    if columns:
        step = (tiles.shape[1] - gap) / len(columns)
        ax.set_xticks([gap / 2 + (column + 0.5) * step for column in range(len(columns))], columns)
