"""`python -m analysis`: tables, figures and reports of finished and running studies."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from study.arguments import Data, Root, main, new_app
from study.record.folder import RunError, find
from study.spec.problems import SpecError
from study.trial.files import unwritable_file, write_whole

app = new_app("Tables, figures and reports of one run or several.")

STANDARD_OUTPUT = Path("-")


def _check_file(given: Path | None, parameter: typer.CallbackParam) -> Path | None:
    """Told before the tables are made."""
    if given is None or given == STANDARD_OUTPUT:
        return given
    path = Path(os.path.expanduser(given))
    if reason := unwritable_file(path):
        raise SpecError(parameter.opts[0], [reason])
    return path


def _one_of(*known: str) -> Callable[[str | None], str | None]:
    """Refuses another word."""

    def check(given: str | None) -> str | None:
        if given not in (None, *known):
            raise typer.BadParameter(f"must be {', '.join(known[:-1])} or {known[-1]}, got {given!r}")
        return given

    return check


Runs = Annotated[list[str], typer.Argument(help="Names of runs, or their folders.", show_default=False)]


@app.callback()
def _group() -> None:
    """Tables, figures and reports of one run or several."""


@app.command()
def table(
    runs: Runs,
    root: Root = Path("runs"),
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            callback=_one_of("md", "latex", "csv", "parquet"),
            help="md or latex, all tables as people read them; csv or parquet, one table with all its columns.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            callback=_one_of("studies", "best", "confirmed", "front", "trials"),
            help="One table: studies, best, confirmed, front or trials; see docs/tables.md.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(callback=_check_file, help="The file to write; - is standard output.", show_default=False),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(callback=_check_file, help="As --format csv --only trials --out.", show_default=False),
    ] = None,
) -> None:
    """One row a trial: how it ended, what varied, and the metrics of its last report; then what was confirmed.

    With --format also how the trials ended and what they took, the best of each model and data set, and Pareto sets.
    No path or password of this machine is in them.
    """
    if csv is not None:
        if (format_, only, out) != (None, None, None):
            raise SpecError("--csv", ["stands for --format csv --only trials --out; give one or the other"])
        format_, out = "csv", csv
    if format_ == "parquet" and out in (None, STANDARD_OUTPUT):
        raise SpecError("--format parquet", ["is no text for standard output; name a file with --out"])
    for given in runs:
        find(given, root)  # a misspelt name is told before the tables of another run are made
    from analysis import formats, tables

    trials, confirmed = (formats.sendable(of(*runs, root=root)) for of in (tables.trials, tables.confirmed))
    if format_ in formats.OF_FILES:
        frame = formats.TABLES[only or "trials"].whole(trials, confirmed)
        formats.write(frame, format_, None if out == STANDARD_OUTPUT else out)
        return
    if only is not None:
        said = formats.one(format_ or "text", only, trials, confirmed)
        if not said:
            print(f"no rows: {formats.TABLES[only].title}", file=sys.stderr)
    elif format_ is not None:
        said = formats.document(format_, trials, confirmed)
    else:
        said = formats.overview(trials, confirmed)
    _write(said, out)


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
        if results.lacking is not None:
            print(f"only what needs no model is drawn: {results.lacking}", file=sys.stderr)
    if len(several) > 1:
        if apart := drawing.apart(several):
            print(f"not compared in one figure: the runs differ in {', '.join(apart)}", file=sys.stderr)
        else:
            _print_each(drawing.draw_compared(several, formats, out and out / "compared"))


@app.command("report")
def report_(
    runs: Runs,
    root: Root = Path("runs"),
    data: Data = None,
    out: Annotated[
        Path | None,
        typer.Option(
            callback=_check_file,
            help="The HTML file to write, - is standard output; of one run, its report.html if not given.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a report as one HTML file: what was asked, what came out, figures, what failed, what it cost.

    Nothing in it lies elsewhere, so it can be sent; no path or password of this machine is in it.
    """
    found = list({run.path: run for run in (find(given, root) for given in runs)}.values())
    path = out or found[0].path / "report.html"
    if out is None and found[1:]:
        raise SpecError("--out", ["a report of several runs lies in none of them; name an HTML file"])
    if path != STANDARD_OUTPUT and (reason := unwritable_file(path)):
        raise RunError(f"cannot write {path}: {reason}; name another file with --out")
    from analysis.figures import Results
    from analysis.report import report

    _write(report([Results(run, data) for run in found]), path)
    if path != STANDARD_OUTPUT:
        print(path)


def _write(text: str, out: Path | None) -> None:
    """Writes to a file, or where none is named to standard output."""
    if out in (None, STANDARD_OUTPUT):
        print(text, end="")
    else:
        write_whole(out, lambda path: path.write_text(text, encoding="utf-8"))


def _print_each(paths: Iterable[Path]) -> None:
    for path in paths:
        print(path)


if __name__ == "__main__":
    main(app)
