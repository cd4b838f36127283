"""`python -m analysis`: tables, figures and reports of finished and running studies."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from study.arguments import Data, Root, main, new_app
from study.record.folder import Run, RunError, find, unwritable_output
from study.spec.problems import SpecError
from study.trial.files import unwritable, write_whole

if TYPE_CHECKING:
    from analysis.figures import Results

app = new_app("Tables, figures and reports of one run or several.")

STANDARD_OUTPUT = Path("-")
MOST_ORDERS = 10_000  # in which a share is known to less than one per cent


def _check_file(given: Path | None, parameter: typer.CallbackParam) -> Path | None:
    """Told before the tables are made."""
    if given is None or given == STANDARD_OUTPUT:
        return given
    path = Path(os.path.expanduser(given))
    if reason := unwritable_output(path):
        raise SpecError(parameter.opts[0], [reason])
    return path


def _one_of(*known: str) -> Callable[[Any], Any]:
    """Refuses another word, or one among several."""

    def check(given: str | list[str] | None) -> str | list[str] | None:
        for word in given if isinstance(given, list) else [given]:
            if word not in (None, *known):
                raise typer.BadParameter(f"must be {', '.join(known[:-1])} or {known[-1]}, got {word!r}")
        return given

    return check


def _at_least_one(given: int | None, parameter: typer.CallbackParam) -> int | None:
    if given is not None and given < 1:
        raise SpecError(parameter.opts[0], [f"must be 1 or more, got {given}"])
    return given


def _check_orders(given: int, parameter: typer.CallbackParam) -> int:
    if given > MOST_ORDERS:
        raise SpecError(
            parameter.opts[0], [f"must be at most {MOST_ORDERS:,}, got {given:,}; more would change little"]
        )
    _at_least_one(given, parameter)
    return given


def _not_negative(given: int | None, parameter: typer.CallbackParam) -> int | None:
    if given is not None and given < 0:
        raise SpecError(parameter.opts[0], [f"must be 0 or more, got {given}"])
    return given


def _check_picture(given: Path | None, parameter: typer.CallbackParam) -> Path | None:
    if given is not None and given.suffix not in (".png", ".pdf", ".svg"):
        raise SpecError(parameter.opts[0], [f"must end in .png, .pdf or .svg, got {given}"])
    return _check_file(given, parameter)


def _check_page(given: Path | None, parameter: typer.CallbackParam) -> Path | None:
    if given not in (None, STANDARD_OUTPUT) and given.suffix.lower() not in (".html", ".htm"):
        raise SpecError(parameter.opts[0], [f"must end in .html or .htm, as a report is HTML, got {given}"])
    return _check_file(given, parameter)


def _format_option(help_text: str) -> Any:
    check = _one_of("md", "latex", "csv", "parquet")
    return typer.Option("--format", callback=check, help=help_text, show_default=False)


def _check_text(format_: str | None, out: Path | None) -> None:
    """Refuses to write on standard output what is no text."""
    if format_ == "parquet" and out in (None, STANDARD_OUTPUT):
        raise SpecError("--format parquet", ["is no text for standard output; name a file with --out"])


Out = Annotated[
    Path | None,
    typer.Option(callback=_check_file, help="The file to write; - is standard output.", show_default=False),
]
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
        _format_option("md or latex, all tables as people read them; csv or parquet, one table with all its columns."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            callback=_one_of("studies", "best", "confirmed", "front", "trials"),
            help="One table: studies, best, confirmed, front or trials; see docs/tables.md.",
            show_default=False,
        ),
    ] = None,
    out: Out = None,
    csv: Annotated[
        Path | None,
        typer.Option(callback=_check_file, help="As --format csv --only trials --out.", show_default=False),
    ] = None,
) -> None:
    """One row a trial: how it ended, what varied, and the metrics of its last report; then what was confirmed.

    With --format also how the trials ended and what they took, the best of each model and data set, and Pareto sets.
    No path or password of this machine is in them. What is damaged of a run is left out, and a line says so.
    """
    if csv is not None:
        if (format_, only, out) != (None, None, None):
            raise SpecError("--csv", ["stands for --format csv --only trials --out; give one or the other"])
        format_, out = "csv", csv
    _check_text(format_, out)
    for given in runs:
        find(given, root)  # a misspelt name is told before the tables of another run are made
    from analysis import formats, tables

    trials, lacking = tables.readable_trials(*runs, root=root)
    confirmed, damaged = tables.readable_confirmed(*runs, root=root)
    lines = [*lacking, *(f"left out is what was confirmed: {line}" for line in damaged)]
    nothing = not len(confirmed) and bool(damaged if only == "confirmed" else lacking and not len(trials))
    _say_left_out(lines, nothing)
    trials, confirmed = map(formats.sendable, (trials, confirmed))
    if format_ in formats.OF_FILES:
        frame = formats.TABLES[only or "trials"].whole(trials, confirmed)
        formats.write(frame, format_, None if out == STANDARD_OUTPUT else out)
        return
    if only is not None:
        said = formats.alone(format_ or "text", only, trials, confirmed)
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

    A comparison lies in `figures/compared` of the first run. In --out, each of several runs has a folder of its name;
    where two are called alike, it lies in one that is called as what they lie in. There the comparison lies in
    `compared`, or where that is a run's, in `compared-2`.

    Runs compare where data set, preprocessing, likelihood, kind of ELBO and first objective are the same.

    What cannot be read, as a damaged checkpoint, keeps only the figures that need it from being drawn; a line says so.
    """
    if format_ not in (None, "png", "pdf", "svg"):
        raise typer.BadParameter(f"must be png, pdf or svg, got {format_!r}", param_hint="--format")
    found = {run.path: run for run in (find(given, root) for given in runs)}
    from analysis import figures as drawing

    formats = drawing.FORMATS if format_ is None else (format_,)
    several, drawn = drawing.beside(_specified(found.values()), data), 0
    for results in several:
        drawn += _print_each(drawing.draw(results, formats, out / results.name if out and several[1:] else out))
    _print_lacking(several)
    comparing = [results for results in several if not results.unreadable and results.has_begun]
    if len(comparing) > 1:
        if apart := drawing.apart(comparing):
            print(f"not compared in one figure: the runs differ in {', '.join(apart)}", file=sys.stderr)
        else:
            where = out and out / drawing.free_folder(several)
            drawn += _print_each(drawing.draw_compared(comparing, formats, where))
    if not drawn:
        sys.exit(2)


@app.command("report")
def report_(
    runs: Runs,
    root: Root = Path("runs"),
    data: Data = None,
    out: Annotated[
        Path | None,
        typer.Option(
            callback=_check_page,
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
    if path != STANDARD_OUTPUT and (reason := unwritable_output(path)):
        raise RunError(f"cannot write {path}: {reason}; name another file with --out")
    from analysis.figures import beside
    from analysis.report import report

    several = beside(_specified(found), data)
    lacking = [f"left out is {results.name}: {why}" for results in several if (why := results.unreadable)]
    _say_left_out(lacking, len(lacking) == len(several))
    several = [results for results in several if not results.unreadable]
    _write(report(several), path)
    _print_lacking(several)
    if path != STANDARD_OUTPUT:
        print(path)


@app.command()
def replay(
    runs: Runs,
    root: Root = Path("runs"),
    grace: Annotated[
        list[int] | None, typer.Option(help="First rung, in steps; may be repeated.", show_default=False)
    ] = None,
    reduction: Annotated[
        list[int] | None, typer.Option(help="One in so many goes on; may be repeated.", show_default=False)
    ] = None,
    mode: Annotated[
        list[str] | None,
        typer.Option(
            callback=_one_of("stop", "promote"),
            help="stop, trials end at a rung; promote, they pause there. May be repeated; both if not given.",
            show_default=False,
        ),
    ] = None,
    complete: Annotated[
        int | None,
        typer.Option(
            callback=_not_negative,
            help="So many trials make their full budget at least; if not given, as many as in a search of that mode.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int, typer.Option(callback=_at_least_one, help="Trials at work at once.")] = 1,
    orders: Annotated[int, typer.Option(callback=_check_orders, help="How many random orders, at most 10,000.")] = 100,
    trials: Annotated[
        int | None,
        typer.Option(
            callback=_at_least_one,
            help="Replay smaller searches: so many trials of each order; all if not given.",
            show_default=False,
        ),
    ] = None,
    format_: Annotated[
        str | None,
        _format_option("md or latex, as people read it; csv or parquet, with all columns."),
    ] = None,
    out: Out = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            callback=_check_picture,
            help="The picture to write, .png, .pdf or .svg; if not given, a .png and a .pdf, beside the file of --out "
            "under its name, or without one among the first run's figures as replay.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Replay searches under other rungs: what they would have cost, and how often they would have lost the best trial.

    Stored curves are judged in random orders as a search judges them. Best is a study with `asha: null`, whose curves
    are all whole; below the table stands what a replay cannot know.
    """
    _check_text(format_, out)
    found = list({run.path: run for run in (find(given, root) for given in runs)}.values())
    pictures = [figure] if figure else _pictures(found[0], out)
    from analysis import formats, replay

    searches = [replay.searched(run) for run in found]
    if trials is not None and (small := [each for each in searches if len(each.curves) < trials]):
        raise SpecError("--trials", [f"{small[0].run.name} has {len(small[0].curves)} to replay, got {trials}"])
    modes = [each for each in replay.MODES if each in (mode or replay.MODES)]
    given = (grace or (), reduction or (), modes, complete)
    chosen = [replay.settings(each.run, each.spec, *given) for each in searches]
    summaries = [
        replay.summary(each.run.name, replay.replay(each, settings, workers, orders, trials), workers)
        for each, settings in zip(searches, chosen)
    ]
    if format_ in formats.OF_FILES:
        formats.write(replay.joined(summaries), format_, None if out == STANDARD_OUTPUT else out)
    else:
        _write(replay.document(format_ or "text", searches, summaries, workers, orders, trials), out)
    from analysis.figures import replayed

    replayed.save(summaries, [each.spec.objectives[0] for each in searches], pictures)
    for path in pictures:
        print(path, file=sys.stderr)


def _specified(runs: Iterable[Run]) -> list[Run]:
    """Those whose specification can be read; a line names each other. RunError where that is none."""
    found, lines = [], []
    for run in runs:
        try:
            run.spec()
            found.append(run)
        except RunError as error:
            lines.append(f"left out is {run.name}: {error}")
    _say_left_out(lines, not found)
    return found


def _say_left_out(lines: Sequence[str], nothing: bool) -> None:
    """Says what of the runs is left out; RunError where nothing is left."""
    if nothing:
        raise RunError("\n".join(lines))
    for line in lines:
        print(line, file=sys.stderr)


def _pictures(run: Run, out: Path | None) -> list[Path]:
    """Where the figure of a replay goes: beside the table's file, or without one into the run."""
    if out in (None, STANDARD_OUTPUT):
        stem = run.path / "figures" / "replay"
        if reason := unwritable(stem.parent):
            raise RunError(f"cannot write {stem.parent}: {reason}; name a file with --figure, or with --out")
        return [stem.with_suffix(".png"), stem.with_suffix(".pdf")]
    pictures = [out.with_suffix(".png"), out.with_suffix(".pdf")]
    for path in pictures:
        if reason := "the table goes there" if path == out else unwritable_output(path):
            raise RunError(f"cannot write {path}: {reason}; name a file with --figure")
    return pictures


def _write(text: str, out: Path | None) -> None:
    """Writes to a file, or where none is named to standard output."""
    if out in (None, STANDARD_OUTPUT):
        print(text, end="")
    else:
        write_whole(out, lambda path: path.write_text(text, encoding="utf-8"))


def _print_lacking(several: Sequence[Results]) -> None:
    for results in several:
        for line in results.lacking:
            print(f"{results.name}: {line}", file=sys.stderr)


def _print_each(paths: Sequence[Path]) -> int:
    """How many they are."""
    for path in paths:
        print(path)
    return len(paths)


if __name__ == "__main__":
    main(app)
