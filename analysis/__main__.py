"""`python -m analysis`: tables, figures and reports of finished and running studies."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from study.cli import Data, Root, main, new_app
from study.record.folder import find
from study.spec.problems import SpecError
from study.trial.files import unwritable_file

app = new_app("Tables and figures of one run or several.")

STANDARD_OUTPUT = Path("-")


def _check_csv(given: Path | None) -> Path | None:
    """Told before the tables are made."""
    if given is None or given == STANDARD_OUTPUT:
        return given
    path = Path(os.path.expanduser(given))
    if reason := unwritable_file(path):
        raise SpecError("--csv", [reason])
    return path


Runs = Annotated[list[str], typer.Argument(help="Names of runs, or their folders.", show_default=False)]


@app.callback()
def _group() -> None:
    """Tables and figures of one run or several."""


@app.command()
def table(
    runs: Runs,
    root: Root = Path("runs"),
    csv: Annotated[
        Path | None,
        typer.Option(
            callback=_check_csv,
            help="Write every column of every trial to this file instead; - is standard output.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """One row a trial: how it ended, what varied, and the metrics of its last report; then what was confirmed."""
    from analysis import tables

    for given in runs:
        find(given, root)  # a misspelt name is told before the tables of another run are made
    frame = tables.trials(*runs, root=root)
    if csv is not None:
        frame.to_csv(sys.stdout if csv == STANDARD_OUTPUT else csv, index=False)
        return
    confirmed = tables.confirmed(*runs, root=root)
    if not len(frame) and not len(confirmed):
        print("nothing has ended yet")
    if len(frame):
        print(tables.text(tables.ranking(frame)))
    if len(confirmed):
        print("\nConfirmed over fresh seeds, on the test set, mean ± standard deviation:\n")
        print(tables.text(tables.confirmation(confirmed)))
    for note in tables.notes(frame, confirmed):
        print(f"\n{note}")


@app.command()
def figures(
    runs: Runs,
    root: Root = Path("runs"),
    data: Data = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", help="png, pdf or svg alone; else png, pdf, and gif if it moves.", show_default=False),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where they go, instead of the runs.", show_default=False)] = None,
) -> None:
    """Draw each run's figures into its folder `figures`; of several runs, what compares them too.

    A comparison lies in `figures/compared` of the first run. In --out, each of several runs has a folder of its name.

    Runs compare where data set, preprocessing, likelihood, kind of ELBO and first objective are the same.
    """
    if format_ not in (None, "png", "pdf", "svg"):
        raise typer.BadParameter(f"must be png, pdf or svg, got {format_!r}", param_hint="--format")
    found = {run.path: run for run in (find(given, root) for given in runs)}
    from analysis import figures as drawing

    formats = drawing.FORMATS if format_ is None else (format_,)
    several = [drawing.Results(run, data) for run in found.values()]
    for results in several:
        _print_each(drawing.draw(results, formats, out / results.run.name if out and several[1:] else out))
    if len(several) > 1:
        if apart := drawing.apart(several):
            print(f"not compared in one figure: the runs differ in {', '.join(apart)}", file=sys.stderr)
        else:
            _print_each(drawing.draw_compared(several, formats, out and out / "compared"))


def _print_each(paths: Iterable[Path]) -> None:
    for path in paths:
        print(path)


if __name__ == "__main__":
    main(app)
