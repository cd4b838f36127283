"""The command line.

Exit 0: done; 1: failed; 2: a mistake in what was given, in a line each; 3: finished, but some trials failed, or some
seeds of `seeds`; 130 and 143: stopped by Ctrl-C or SIGTERM, to be resumed.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import imagesets
import models
from study import cli_datasets, cli_exports
from study import spec as specs
from study.arguments import Address, Data, DryRun, Hours, Preset, Root, RunName, Set, Wait, main, new_app
from study.record.folder import RUNS, Run, RunError, find, release
from study.spec import preset as preset_files
from study.spec.address import wanted
from study.spec.problems import SpecError
from study.spec.text import command

if TYPE_CHECKING:
    from study.record.start import Start
    from study.record.trials import Outcome
    from study.spec import StudySpec

__all__ = ["app", "main"]


def _print_version(asked: bool) -> None:
    if asked:
        print(f"latentsweep {release('latentsweep') or '(a checkout, not installed)'}")
        raise typer.Exit


app = new_app("Hyperparameter studies of variational autoencoders.")

Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
]


@app.callback()
def _options(version: Version = False) -> None:
    """What can be given before a command."""


@app.command()
def run(
    preset: Preset,
    set_: Set = None,
    trials: Annotated[
        str | None, typer.Option(help="How many trials; +N adds N to a run that is there.", show_default=False)
    ] = None,
    root: Root = RUNS,
    data: Data = None,
    storage: Annotated[str | None, typer.Option(help="An Optuna storage URL.", show_default=False)] = None,
    address: Address = None,
    wait: Wait = False,
    hours: Hours = None,
    start_from: Annotated[
        str | None, typer.Option(help="A run, of whose trials the sampler learns first.", show_default=False)
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Search a study's hyperparameters."""
    overrides = list(set_ or [])
    if trials is not None and trials.startswith("+"):
        if storage is not None:
            raise SpecError("--storage", ["is for a new run; the trials of this one stay where they are"])
        if start_from is not None:
            raise SpecError("--start-from", ["is for a new run; this one has trials of its own to learn of"])
        _extend(preset, overrides, trials, root, data, address, wait, hours, dry_run)
        return
    if trials is not None:
        overrides.append(f"trials={trials}")
    if storage is not None:
        overrides.append(f"storage={json.dumps(storage, ensure_ascii=False)}")  # text, whatever YAML would read in it
    spec = specs.load(preset, overrides)
    run = Run(root / spec.name)
    from study.record.storage import check_searches

    check_searches(spec)
    start = None if start_from is None else _start(start_from, root, spec)
    _say_plan(spec, run)
    if start is not None:
        print(f"  {start.line}", flush=True)
    if dry_run:
        _check_places(spec, run)
        _say_what_is_missing(spec, data, address)
        return
    from study.tune import runner

    _finish(run, runner.run(spec, run, data=data, address=address, wait=wait, hours=hours, start=start))


def _start(given: str, root: Path, spec: StudySpec) -> Start:
    from study.record.start import taken
    from study.record.storage import open_run

    return taken(open_run(find(given, root)), spec)


def _extend(
    given: str,
    overrides: list[str],
    more: str,
    root: Path,
    data: str | None,
    address: str | None,
    wait: bool,
    hours: float | None,
    dry_run: bool,
) -> None:
    from study.record.extension import extended

    run, spec = extended(given, overrides, more, root)
    _say_plan(spec, run, f", where {spec.trials - int(more)} of these trials are there")
    if dry_run:
        from study.record.storage import check_goes_on

        check_goes_on(run, spec)
        _say_what_is_missing(spec, data, address)
        return
    from study.tune import runner

    _finish(run, runner.resume(run, spec=spec, data=data, address=address, wait=wait, hours=hours))


@app.command()
def train(preset: Preset, set_: Set = None, root: Root = RUNS, data: Data = None) -> None:
    """Train the paper's defaults once, in this process, without Ray."""
    spec = specs.load(preset, [*(set_ or []), "asha=null"])
    run = Run(root / spec.name)
    from study import solo  # with torch, which is not needed to refuse a name
    from study.record.words import cautions

    for line in cautions(spec):
        print(line, flush=True)
    _finish(run, solo.train(spec, run, data=data))


@app.command()
def resume(
    given: RunName,
    root: Root = RUNS,
    data: Data = None,
    address: Address = None,
    wait: Wait = False,
    hours: Hours = None,
) -> None:
    """Go on with a run that was interrupted; one of a single trial in this process, unless a cluster is named."""
    from study.record.storage import is_made, open_run
    from study.record.trials import owed

    run = find(given, root)
    spec = run.spec()
    if not spec.trials:
        raise RunError(f"{run.name} has no search to go on with; its seeds go on with `{run.goes_on(spec)}`")
    if is_made(run, spec) and not owed(open_run(run, spec)):
        print(f"{run.name} is finished; there is nothing to go on with")
    if spec.trials == 1 and wanted(address) is None and hours is None:
        from study import solo

        _finish(run, solo.resume(run, data=data))
    else:
        from study.tune import runner

        _finish(run, runner.resume(run, data=data, address=address, wait=wait, hours=hours))


@app.command()
def confirm(
    given: RunName,
    set_: Set = None,
    root: Root = RUNS,
    data: Data = None,
    address: Address = None,
    wait: Wait = False,
) -> None:
    """Train the defaults and the best configurations over fresh seeds, and read the test set; only what is missing."""
    run = find(given, root)
    from study.record.extension import confirmed_otherwise

    spec = confirmed_otherwise(run, set_ or [])
    from study import confirm as confirmation

    stopped = confirmation.confirm(
        run, spec=spec, data=data, address=address, wait=wait, say=lambda line: print(line, flush=True)
    )
    if stopped is not None:
        sys.exit(128 + stopped)
    print(f"table: {command('table', run.argument, package='analysis')}")


@app.command()
def seeds(
    preset: Preset,
    seeds: Annotated[str, typer.Option(help="How many; more than a run has adds those that it lacks.")] = "5",
    set_: Set = None,
    root: Root = RUNS,
    data: Data = None,
    address: Address = None,
    wait: Wait = False,
    dry_run: DryRun = False,
) -> None:
    """Train the defaults, with what the preset pins, over fresh seeds without a search, and read the test set."""
    from study.record.confirmation import seeds as ended
    from study.record.confirmation import standing
    from study.record.seeds import with_more, without_search

    spec = without_search(preset, set_ or [], seeds)
    run = Run(root / spec.name)
    if run.study_yaml.is_file():
        spec = with_more(run, spec)
    _say_plan(spec, run)
    if dry_run:
        if not run.study_yaml.is_file():
            _check_places(spec, run)
        _say_what_is_missing(spec, data, address)
        return
    from study import confirm as confirmation

    stopped = confirmation.confirm_defaults(
        spec, run, data=data, address=address, wait=wait, say=lambda line: print(line, flush=True)
    )
    print(f"{spec.name}: {standing(run, spec)}")
    if stopped is not None:
        sys.exit(128 + stopped)
    print(f"table: {command('table', run.argument, package='analysis')}")
    sound, failed = ended(run, spec)
    if failed:
        sys.exit(3 if sound else 1)


@app.command()
def status(given: RunName, root: Root = RUNS) -> None:
    """Where a run stands."""
    from study.record.storage import open_run
    from study.record.words import at_work, summary

    opened = open_run(find(given, root))
    print("\n".join(filter(None, (summary(opened), at_work(opened)))))


@app.command()
def doctor(
    given: RunName,
    fix: Annotated[bool, typer.Option("--fix", help="Repair what can be repaired.")] = False,
    root: Root = RUNS,
) -> None:
    """Check a run folder and its study against each other."""
    from study.doctor import examine

    if not examine(find(given, root, whole=False), fix):
        sys.exit(1)


for of_exports in (cli_exports.export, cli_exports.evaluate, cli_exports.encode, cli_exports.sample):
    app.command()(of_exports)


@app.command()
def dashboard(
    given: RunName,
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(help="If not given the first free one from 8080 on.", min=0, max=65535, show_default=False),
    ] = None,
    root: Root = RUNS,
) -> None:
    """Show a study in the browser, with the pictures of its trials, while it runs too; changes nothing."""
    run = find(given, root)
    from study.dashboard import serve

    serve(run, host, port)


@app.command()
def presets() -> None:
    """The presets that come with the project, by model."""
    of: dict[str, list[str]] = {}
    for name in specs.presets():
        of.setdefault(preset_files.read(name)[1]["model"], []).append(name)
    for model, names in sorted(of.items()):
        print(model)
        for name in names:
            print(f"    {name:28s}{preset_files.purpose(name)}")


@app.command("models")
def models_() -> None:
    """The models, and what each takes."""
    for name in models.names():
        first = (models.described(name).__doc__ or "").strip().splitlines()[0]
        print(f"{name}: {first}")
        print("    " + ", ".join(f"{key}={value!r}" for key, value in models.hyperparameters(name).items()))


app.add_typer(cli_datasets.app, name="datasets")


def _say_plan(spec: StudySpec, run: Run, besides: str = "") -> None:
    from study.record.words import plan

    print(plan(spec, run) + besides, flush=True)


def _check_places(spec: StudySpec, run: Run) -> None:
    """Of a new run, which would be refused without them: its folder, and its study's storage, which is not opened."""
    from study.record.storage import check_storage_can_be

    run.check_new()
    check_storage_can_be(spec)


def _say_what_is_missing(spec: StudySpec, data: str | None, address: str | None) -> None:
    """Of the data, on this machine: a run would fetch it, or be refused; as it is where this machine has no room."""
    from study.spec.room import check_room

    if wanted(address) is None:
        check_room(spec)
    if missing := imagesets.missing(spec.dataset, data, **spec.dataset_options):
        print(f"  its data is not here yet: {missing[0]} is missing")


def _finish(run: Run, outcome: Outcome) -> None:
    """Says how a search ended and where things lie, and exits with its code."""
    from study.record.storage import open_run
    from study.record.trials import owed
    from study.record.words import summary

    left = True
    try:
        opened = open_run(run)
        print(summary(opened))
        left = bool(owed(opened))
    except RunError:
        if not outcome.halted:  # which may be because the study cannot be opened
            raise
    if outcome.signal is not None:
        sys.exit(128 + outcome.signal)
    if outcome.halted:
        print(outcome.halted, file=sys.stderr)
        if left:
            print(f"go on with: {command('resume', run.argument)}", file=sys.stderr)
        sys.exit(1)
    if left:
        print(f"go on with: {command('resume', run.argument)}")
    print(f"tables, checkpoints and TensorBoard: {run.path}")
    if outcome.complete:
        print(f"next: {command('export', run.argument, '--out', shlex.quote(f'best/{run.name}'))}")
    if not outcome.complete:
        print("no trial reached the full budget", file=sys.stderr)
        sys.exit(1)
    if outcome.failed:
        sys.exit(3)
