"""What the command lines share: how one is made and run, what a mistake of the user's is, and common arguments."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import imagesets
import models
from study.output import outlive
from study.record.folder import RunError
from study.spec.address import AUTO, LOCAL, head
from study.spec.problems import MachineError, SpecError
from study.spec.text import note

MISTAKES = (SpecError, RunError, imagesets.DataError, models.ModelError)


def new_app(help_text: str) -> typer.Typer:
    """A command line in our way: plain help, no boxes, which would cut a line in two."""
    plain: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}
    wide = {"max_content_width": 120}
    return typer.Typer(help=help_text, no_args_is_help=True, context_settings=wide, **plain)


def main(app: typer.Typer) -> None:
    """Runs a command line; the user's mistakes are lines on standard error, exit code 2."""
    outlive()
    for option in ("data", "address", "wait"):
        note(option, None)
    try:
        app()
    except MISTAKES as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except MachineError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except OSError as error:  # what the machine does not give: room on a disk, a permission, a file that is there
        print(f"{error.filename}: {error.strerror}" if error.filename else error, file=sys.stderr)
        sys.exit(1)


def _note_data(folder: str | None) -> str | None:
    where = None if folder is None else str(imagesets.data_root(folder))
    note("data", where)
    return where


def _check_data(folder: str | None) -> str | None:
    """What is mistyped would be made, and filled; only `datasets get` makes a folder."""
    where = _note_data(folder)
    if where is not None and not os.path.isdir(where):
        raise SpecError("--data", [f"{where} is no folder; make it first, or name the one where the data lies"])
    return where


def _check_address(address: str | None) -> str | None:
    note("address", address)
    if address not in (None, AUTO, LOCAL):
        head(address)
    return address


def _check_hours(hours: float | None) -> float | None:
    if hours is not None and not 0 < hours < math.inf:
        raise SpecError("--hours", [f"must be a number above 0, such as 0.5 or 8, got {hours:g}"])
    return hours


def _note_wait(wait: bool) -> bool:
    note("wait", "" if wait else None)
    return wait


Preset = Annotated[str, typer.Argument(help="A preset's name, or the path of a YAML file.", show_default=False)]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's name, or its folder.", show_default=False)]
Set = Annotated[list[str] | None, typer.Option("--set", help="key=value; may be repeated.", show_default=False)]
Root = Annotated[Path, typer.Option(help="Where run folders lie.")]
NewData = Annotated[
    str | None, typer.Option("--data", callback=_note_data, help="Where data sets lie.", show_default=False)
]
Data = Annotated[
    str | None, typer.Option("--data", callback=_check_data, help="Where data sets lie.", show_default=False)
]
Address = Annotated[
    str | None,
    typer.Option(
        callback=_check_address,
        help="A running Ray cluster: HOST:PORT of its head, or auto; else the one that RAY_ADDRESS names. "
        "local: a Ray of this study's own, as without either.",
        show_default=False,
    ),
]
Wait = Annotated[
    bool,
    typer.Option("--wait", callback=_note_wait, help="Wait until the cluster has a machine with room for a trial."),
]
Option = Annotated[
    list[str] | None,
    typer.Option("--option", help="key=value of the data set; may be repeated.", show_default=False),
]
Hours = Annotated[
    float | None,
    typer.Option(
        callback=_check_hours,
        help="End by then: with as many of the trials as fit.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check, print the plan, write nothing.")]
