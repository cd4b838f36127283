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
from analysis.reported import Picture, Reported, inline, picture, shown


class Compared(NamedTuple):
    """What stands before the sections of several runs."""

    tables: list[tuple[str, Cells]]
    pictures: list[Picture]
    apart: str  # what keeps their numbers from being compared in a figure
    notes: list[str]


def report(several: Sequence[figures.Results]) -> str:
    """The text of the page.

    Args:
        several: the runs, at least one.
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
    several = [each.results for each in reported if len(each.trials) or len(each.confirmed)]
    apart = figures.apart(several) if len(several) > 1 else []
    pictures: list[Picture] = []
    if len(several) > 1 and not apart:
        with tempfile.TemporaryDirectory() as folder:
            pictures = [picture(path) for path in figures.draw_compared(several, inline(), Path(folder))]
    several_tables = [(title, shown(frame)) for title, frame in found if len(frame)]
    return Compared(several_tables, pictures, ", ".join(apart), tables.notes(trials, confirmed))
