"""Tables as they are written: aligned, in Markdown and LaTeX for people, as CSV and parquet for programs."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from analysis.notes import notes
from analysis.summaries import TABLES
from analysis.tables import cell, text, unit
from study.output import without_places
from study.trial.files import write_whole

NUMBER = re.compile(r"(-?[\d,]+(?:\.\d+)?)(?:e([-+]\d+))?(?: ± (\d+(?:\.\d+)?))?( \*)?")
LATEX = {
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
}


class Cells(NamedTuple):
    """A table as text."""

    heads: list[str]
    rows: list[list[str]]
    numeric: list[bool]  # which columns are flush right


def sendable(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame whose texts have no path of this machine and no password: what an error says may have both."""
    texts = {name: _sendable(frame[name]) for name in frame if frame[name].dtype.kind == "O"}
    return frame.assign(**texts)


def _sendable(column: pd.Series) -> pd.Series:
    known = {text: without_places(text) for text in {value for value in column if isinstance(value, str)}}
    return column.map(lambda value: known[value] if isinstance(value, str) else value)


def cells(frame: pd.DataFrame) -> Cells:
    """The cells of a frame, its numbers with the decimals of their units; nothing where there is nothing."""
    columns = [[_cell(value, unit(name)) for value in frame[name]] for name in frame]
    numeric = [all(NUMBER.fullmatch(value) for value in column if value) for column in columns]
    return Cells([str(name) for name in frame], [list(row) for row in zip(*columns)], numeric)


def _cell(value: object, of: str) -> str:
    text = f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, pd.Timestamp) else cell(value, of)
    return " ".join(text.split())


def markdown(frame: pd.DataFrame) -> str:
    """A frame as a table of GitHub's Markdown."""
    heads, rows, numeric = cells(frame)
    rule = ["---:" if right else "---" for right in numeric]
    lines = [[_in_markdown(head) for head in heads], rule, *([_in_markdown(text) for text in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _in_markdown(text: str) -> str:
    for mark, written in (("\\", "\\\\"), ("|", r"\|"), ("*", r"\*"), ("<", "&lt;")):
        text = text.replace(mark, written)
    return text


def latex(frame: pd.DataFrame) -> str:
    r"""A frame as a tabular of LaTeX, for \usepackage{booktabs}."""
    heads, rows, numeric = cells(frame)
    head, *lines = [" & ".join(map(in_latex, line)) + r" \\" for line in (heads, *rows)]
    places = "".join("r" if right else "l" for right in numeric)
    begin, end = [rf"\begin{{tabular}}{{{places}}}", r"\toprule"], [r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join([*begin, head, r"\midrule", *lines, *end])


def in_latex(text: str) -> str:
    """Text in which nothing is a command of LaTeX; a number, with its deviation, in mathematics."""
    if found := NUMBER.fullmatch(text):
        return f"${_number(found)}$"
    return "".join(LATEX.get(mark, mark) for mark in text)


def _number(found: re.Match[str]) -> str:
    value, exponent, deviation, mark = found.groups()
    value = value.replace(",", "{,}")
    power = rf" \times 10^{{{int(exponent)}}}" if exponent else ""
    spread = rf" \pm {deviation}" if deviation else ""
    return f"{value}{power}{spread}{'^{*}' if mark else ''}"


class Format(NamedTuple):
    """How tables are written for people."""

    table: Callable[[pd.DataFrame], str]
    title: str
    note: str


FORMATS = {
    "text": Format(lambda frame: f"{text(frame)}\n", "{}:\n\n", "{}\n"),
    "md": Format(markdown, "## {}\n\n", "{}\n"),
    "latex": Format(latex, "% {}\n", "% {}\n"),
}
OF_FILES = ("csv", "parquet")


def overview(trials: pd.DataFrame, confirmed: pd.DataFrame) -> str:
    """The trials, what was confirmed, and what their numbers are, as aligned text.

    Args:
        trials: from `analysis.trials`.
        confirmed: from `analysis.confirmed`.
    """
    shown = [one("text", "trials", trials, confirmed)] if len(trials) else []
    if len(confirmed):
        shown.append(f"{TABLES['confirmed'].title}:\n\n{one('text', 'confirmed', trials, confirmed)}")
    return "\n".join([*(shown or ["nothing has ended yet\n"]), *(f"{note}\n" for note in notes(trials, confirmed))])


def document(format_: str, trials: pd.DataFrame, confirmed: pd.DataFrame) -> str:
    """All tables that have rows, each below its title, and what their numbers are; arguments as for `overview`."""
    how, parts = FORMATS[format_], []
    for name, table in TABLES.items():
        if shown := one(format_, name, trials, confirmed):
            parts.append(how.title.format(table.title) + shown)
    return "\n".join([*parts, *(how.note.format(plain(note, format_)) for note in notes(trials, confirmed))])


def one(format_: str, name: str, trials: pd.DataFrame, confirmed: pd.DataFrame) -> str:
    """One table; empty where it has no rows. Arguments as for `overview`."""
    frame = TABLES[name].people(trials, confirmed)
    return FORMATS[format_].table(frame) if len(frame) else ""


def alone(format_: str, name: str, trials: pd.DataFrame, confirmed: pd.DataFrame) -> str:
    """One table, and below it what it is and what its numbers are; empty as `one`, with its arguments."""
    shown = one(format_, name, trials, confirmed)
    if not shown:
        return ""
    of_trials, of_confirmed = (trials, confirmed.iloc[:0]) if name != "confirmed" else (trials.iloc[:0], confirmed)
    if name != "trials":  # whose cost it is
        of_trials = of_trials.drop(columns="budget", errors="ignore")
    said = [f"{TABLES[name].title}.", *(notes(of_trials, of_confirmed) if name != "studies" else ())]
    return "\n".join([shown, *(FORMATS[format_].note.format(plain(note, format_)) for note in said)])


def plain(note: str, format_: str) -> str:
    """A line of text in which nothing is a mark of that format."""
    return _in_markdown(note) if format_ == "md" else note


def write(frame: pd.DataFrame, format_: str, out: Path | None) -> None:
    """Writes a whole table to a file, or as CSV to standard output."""
    if out is None:
        frame.to_csv(sys.stdout, index=False)
    elif format_ == "csv":
        write_whole(out, lambda path: frame.to_csv(path, index=False))
    else:
        write_whole(out, lambda path: frame.to_parquet(path, index=False))
