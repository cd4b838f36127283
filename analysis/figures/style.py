"""What figures share: colours, widths, words, and how a picture is begun, noted and saved.

Colours are those of Okabe & Ito (2008), which the colour-blind can tell apart; marks differ in shape too, for print.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures.results import Results
from study.record.folder import RunError
from study.spec.measures import measure as known
from study.trial import snapshot
from study.trial.files import unwritable, write_whole

BLUE, ORANGE, GREEN, VERMILION, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#8C8C8C"
RUNS = [(BLUE, "o"), (VERMILION, "s"), (GREEN, "^"), (ORANGE, "D"), (PURPLE, "v"), (GREY, "P")]  # of several, each
WIDTH = 6.5  # inches: a page's text
GAP = 2  # pixels between the tiles of a sheet
FAR = 10.0  # median deviations below the median: from there on a value is marked at the edge of an axis


def word(measure: str) -> str:
    """A measure's name in a title."""
    return known(measure).title


def label(measure: str, part: str = "validation") -> str:
    """A measure on an axis, with its unit, taken on that part of the data."""
    title, unit = known(measure).title, known(measure).unit
    return f"{part} {title} [nats / image]" if unit == "nats" else f"{part} {title}"


def short(value: float) -> str:
    """A number where there is little room: two digits that count."""
    return f"{float(f'{value:.2g}'):g}"


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


def limit(ax: Axes, values: NDArray[np.float64], low: float) -> None:
    """An axis of values from `low` on, with room for `mark_below` where some lie below."""
    if np.isfinite(low):
        high = values[np.isfinite(values)].max()
        height = (high - low) or 1.0
        ax.set_ylim(low - (0.18 if (values < low).any() else 0.08) * height, high + 0.08 * height)


def mark_below(ax: Axes, places: NDArray, **look: Any) -> None:
    """Triangles that point down at the lower edge, where values lie below the axis.

    Args:
        ax: with the values upwards.
        places: on the other axis, [N].
        look: as for `plot`.
    """
    height = np.full(len(places), 0.05)
    shape: dict[str, Any] = {"marker": "v", "linestyle": "", "markersize": 5, "zorder": 5}
    ax.plot(places, height, transform=ax.get_xaxis_transform(), **{**shape, **look})


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


def note(figure: Figure, several: Sequence[Results]) -> None:
    """A line below: whose numbers these are, and what their ELBO is."""
    names = ", ".join(results.spec.name for results in several)
    figure.supxlabel(f"{names}: {several[0].kind}", x=0.99, ha="right", fontsize="x-small", color=GREY)


def check_folder(folder: Path) -> None:
    """Raises RunError where pictures cannot be written into a folder, which need not be there yet."""
    if reason := unwritable(folder):
        raise RunError(f"cannot write {folder}: {reason}; name another folder with --out")


def save(figure: Figure, path: Path) -> Path:
    """Writes a picture whole, in the format that its path ends in. Raises RunError where it cannot be written."""
    suffix = path.suffix.removeprefix(".")
    try:
        write_whole(path, lambda temporary: figure.savefig(temporary, format=suffix, dpi=200))
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; name another folder with --out") from None
    return path


def draw_sheet(ax: Axes, pixels: NDArray[np.uint8], title: str, rows: Sequence[str] = (), gap: int = GAP) -> None:
    """Pictures as tiles, [rows, columns, ..., C, H, W], with a name for each row where there is one."""
    ax.imshow(snapshot.sheet(pixels, gap=gap), interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_title(title)
    if rows:
        height = pixels.shape[-2]
        ax.set_yticks([gap + row * (height + gap) + height / 2 for row in range(len(rows))], rows)
        ax.tick_params(length=0)
