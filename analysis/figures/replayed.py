"""What other rungs would have cost, against what they would have lost; see `analysis.replay`.

No figure of a report: it is drawn where a replay is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from analysis.figures import style
from analysis.replay import INTERVAL
from study.spec.measures import measure as known

WORDS = {"stop": "stopped at a rung for good", "promote": "paused at a rung, and promoted"}
BARS = f"bars: the middle {INTERVAL:.0%} of orders; of a share of orders, Wilson's {INTERVAL:.0%} interval"
PLAIN: dict[str, Any] = {"linestyle": "", "markersize": 5}


class Point(NamedTuple):
    """One setting: means over the orders, with the bounds between which nine of ten lie."""

    mode: str
    grace: int
    reduction: int
    cost: tuple[float, float, float]  # steps, as a share of the full budget's: mean, low, high
    loss: tuple[float, float, float]  # what a panel shows of the best trial, likewise


def data(summary: pd.DataFrame, loss: str) -> list[Point]:
    """The settings that stop trials.

    Args:
        summary: from `analysis.replay.summary`, of one study.
        loss: `best_lost` or `regret`; settings that have none are left out.
    """
    rows = summary[(summary["mode"] != "full") & summary[loss].notna()]
    ends = ("", "_low", "_high")
    costs, losses = (zip(*(rows[f"{name}{end}"] for end in ends)) for name in ("steps_share", loss))
    about = zip(rows["mode"], rows["grace"].astype(int), rows["reduction"].astype(int))
    return [Point(*setting, cost, lost) for setting, cost, lost in zip(about, costs, losses)]


def looks(points: Sequence[Point]) -> tuple[dict[int, str], dict[int, str]]:
    """A colour for each reduction, and a marker for each first rung."""
    colours = {eta: style.run_style(i)[0] for i, eta in enumerate(sorted({point.reduction for point in points}))}
    return colours, {grace: style.run_style(i)[1] for i, grace in enumerate(sorted({point.grace for point in points}))}


def draw(ax: Axes, points: Sequence[Point], colours: dict[int, str], markers: dict[int, str]) -> None:
    """A mark a setting, its intervals as thin lines, and a star for the full budget."""
    for point in points:
        (x, *wide), (y, *high) = point.cost, point.loss
        thin: dict[str, Any] = {"color": colours[point.reduction], "linewidth": 0.8, "alpha": 0.45, "zorder": 2}
        ax.plot(wide, [y, y], **thin)
        ax.plot([x, x], high, **thin)
        ax.plot(x, y, color=colours[point.reduction], marker=markers[point.grace], zorder=3, **PLAIN)
    ax.plot(1, 0, marker="*", markersize=9, linestyle="", color="black", zorder=3, clip_on=False)
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlim(0, 1.05)
    ax.grid(color="0.93")
    ax.set_axisbelow(True)


def _legend(figure: Figure, colours: dict[int, str], markers: dict[int, str]) -> None:
    of = [(f"first rung {grace:,}", "0.4", marker, 5) for grace, marker in markers.items()]
    of += [(f"reduction {eta}", colour, "|", 10) for eta, colour in colours.items()]
    of += [("full budget", "black", "*", 9)]
    for name, colour, marker, size in of:
        figure.axes[0].plot([], [], color=colour, marker=marker, markersize=size, linestyle="", label=name)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)


def figure(summaries: Sequence[pd.DataFrame], objectives: Sequence[str]) -> Figure:
    """A column a mode; of each study a row of how often the best was lost, and one of by how much.

    Args:
        summaries: from `analysis.replay.summary`, one a study.
        objectives: the first one of each.
    """
    every = [point for summary in summaries for point in data(summary, "best_lost")]
    modes = [mode for mode in WORDS if any(point.mode == mode for point in every)]
    (colours, markers), width = looks(every), max(1, len(modes))
    picture, axes = style.panels(2 * len(summaries) * width, width, 2.3)
    for row, (summary, objective) in enumerate(zip(summaries, objectives)):
        nats = " [nats / image]" if known(objective).unit == "nats" else ""
        labels = {"best_lost": "orders that lost the best", "regret": f"regret{nats}"}
        for which, (loss, label) in enumerate(labels.items()):
            panels = axes[(2 * row + which) * width :][:width]
            points = data(summary, loss)
            top = 1.0 if loss == "best_lost" else max((point.loss[2] for point in points), default=0.0) or 1.0
            for mode, ax in zip(modes, panels):
                draw(ax, [point for point in points if point.mode == mode], colours, markers)
                ax.set_ylim(-0.05 * top, 1.05 * top)
                if loss == "best_lost":
                    ax.yaxis.set_major_formatter(PercentFormatter(1))
                    ax.set_title(WORDS[mode], fontsize="medium")
            panels[0].set_ylabel(f"{summary['study'].iloc[0]}\n{label}" if len(summaries) > 1 else label)
    for ax in axes[-width:]:
        ax.set_xlabel("steps, of the full budget's")
    _legend(picture, colours, markers)
    names = ", ".join(summary["study"].iloc[0] for summary in summaries)
    title = f"{names} replayed in {summaries[0]['orders'].iloc[0]} orders: what other rungs would have cost"
    picture.suptitle(f"{title}\n{BARS}", fontsize="medium")
    return picture


def save(summaries: Sequence[pd.DataFrame], objectives: Sequence[str], paths: Sequence[Path]) -> None:
    """Draws once, and writes each file in the format that its path ends in.

    Raises:
        RunError: one cannot be written.
    """
    picture = figure(summaries, objectives)
    for path in paths:
        style.save(picture, path)
