"""How long each trial took, and what the time went into: trials that were completed, stopped, or failed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results
from analysis.notes import saved
from study.spec.text import counted

PLACE = 25
LOOKS = {
    "COMPLETE": ("complete", style.BLUE, ""),
    "PRUNED": ("stopped early", style.ORANGE, "//"),
    "FAIL": ("failed", style.VERMILION, "xx"),
    "RUNNING": ("unfinished", style.GREY, ".."),
}


class Part(NamedTuple):
    """The trials that ended in one way."""

    state: str
    numbers: NDArray[np.int64]
    seconds: NDArray[np.float64]  # by the clock: training and evaluation, in all sessions
    steps: NDArray[np.int64]


def fits(results: Results) -> bool:
    return len(results.trials) > 1 and bool(data(results.trials))


def data(trials: pd.DataFrame) -> list[Part]:
    """Those trials that made a report, by state."""
    known = trials[trials.seconds.notna()]
    parts = [(state, known[known.state == state]) for state in LOOKS]
    return [
        Part(state, rows.number.to_numpy(np.int64), rows.seconds.to_numpy(float), rows.steps.to_numpy(np.int64))
        for state, rows in parts
        if len(rows)
    ]


def draw(axes: tuple[Axes, Axes], parts: list[Part]) -> None:
    """On the left a bar a trial, on the right all trials of a state together."""
    left, right = axes
    total = sum(float(part.seconds.sum()) for part in parts)
    for row, part in enumerate(parts):
        _, colour, hatch = LOOKS[part.state]
        look: dict[str, Any] = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
        left.bar(part.numbers, part.seconds, width=0.85, **look)
        right.barh(row, part.seconds.sum(), **look)
        share = part.seconds.sum() / total if total else 0.0
        pace = part.steps.sum() / part.seconds.sum() if part.seconds.sum() else 0.0
        text = f" {share:.0%}\n {_pace(pace)}"
        right.text(part.seconds.sum(), row, text, va="center", fontsize="small")
    names = [f"{LOOKS[part.state][0]}\n{counted(len(part.numbers), 'trial')}" for part in parts]
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set(xlabel="trial", ylabel="seconds", title="each trial")
    right.set_yticks(range(len(parts)), names)
    right.invert_yaxis()
    right.margins(x=0.4)
    right.set(xlabel="seconds", title="all together")


def _pace(pace: float) -> str:
    said = f"{pace:,.0f}" if pace >= 10 else style.short(pace)
    return f"{said} {'step' if said == '1' else 'steps'} / s"


def figure(results: Results) -> Figure:
    figure, (left, right) = style.panels(2, 2, 3.2)
    draw((left, right), data(results.trials))
    share = saved(results.trials).share
    stopped = f"\nstopping trials early saved {share:.0%} of the steps" if share else ""
    figure.suptitle(f"Where the time of {results.name} went, by the clock{stopped}")
    return figure
