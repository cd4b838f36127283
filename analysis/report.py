"""A report of one run or several, as one HTML file.

Everything is in the file: pictures, and the specification to repeat a study from. What trials say is shown as text,
whatever it holds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import jinja2

from analysis import figures, summaries, tables
from analysis.formats import Cells
from analysis.inline import Picture, picture, suffixes
from analysis.notes import notes
from analysis.reported import Reported, shown


class Compared(NamedTuple):
    """What stands before the sections of several runs."""

    tables: list[tuple[str, Cells]]
    pictures: list[Picture]
    missing: str  # why nothing compares them in a figure
    notes: list[str]


def report(several: Sequence[figures.Results]) -> str:
    """The text of the page.

    Args:
        several: the runs, at least one, from `analysis.figures.beside`.
    """
    reported = [Reported(results) for results in several]
    page = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    ).get_template("report.html.jinja")
    compared = _compared(reported) if len(reported) > 1 else None
    title = ", ".join(each.name for each in reported)
    return page.render(title=title, runs=reported, compared=compared, made=f"{datetime.now():%Y-%m-%d %H:%M}")


def _compared(reported: Sequence[Reported]) -> Compared:
    trials, confirmed = (
        tables.joined([frame for each in reported if len(frame := getattr(each, name))] or [getattr(reported[0], name)])
        for name in ("trials", "confirmed")
    )
    found = [
        (table.title, table.people(trials, confirmed)) for name, table in summaries.TABLES.items() if name != "trials"
    ]
    pictures, missing = _drawn_together([each.results for each in reported if len(each.trials) or len(each.confirmed)])
    several_tables = [(title, shown(frame)) for title, frame in found if len(frame)]
    return Compared(several_tables, pictures, missing, notes(trials, confirmed))


def _drawn_together(several: Sequence[figures.Results]) -> tuple[list[Picture], str]:
    """The figures that compare runs, and why there are none."""
    if len(several) < 2:
        return [], "fewer than two of them have begun"
    if apart := figures.apart(several):
        return [], f"the runs differ in {', '.join(apart)}"
    with tempfile.TemporaryDirectory() as folder:
        return [picture(path) for path in figures.draw_compared(several, suffixes(), Path(folder))], ""
