"""The commands under `datasets`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import imagesets
from study import spec as specs
from study.arguments import NewData, Option
from study.spec.text import command

app = typer.Typer(help="The data sets: sizes, what is on this machine, and how to get the rest.")


@app.callback(invoke_without_command=True)
def datasets_(context: typer.Context, data: NewData = None) -> None:
    """The data sets: sizes, what is on this machine, and how to get the rest."""
    if context.invoked_subcommand is not None:
        return
    root = imagesets.data_root(data)
    print(f"data folder: {root}\n")
    for name in imagesets.names():
        info = imagesets.about(name)
        sizes = f"{list(info.image_shape)}, {info.train} train, {info.valid} valid, {info.test} test; "
        print(f"{name}: {info.description}\n    {sizes if info.image_shape else ''}{info.files}")
        if options := imagesets.options(name):
            worded = {key: "needed" if value is imagesets.NEEDED else repr(value) for key, value in options.items()}
            print("    options: " + ", ".join(f"{key}={value}" for key, value in worded.items()))
        print(f"    {_presence(name, root)}")


def _presence(name: str, root: Path) -> str:
    """Whether a data set can be used on this machine, and what to do if not."""
    made = imagesets.size(root, name)
    there = f"{made / 1e6:.1f} MB under {root / 'cache'}"
    if needed := [key for key, value in imagesets.options(name).items() if value is imagesets.NEEDED]:
        done = f"; so far: {there}" if made else ""
        return f"yours: `{command('datasets get', name, '--option', f'{needed[0]}=...')}` prepares it{done}"
    if made:
        return f"ready: {there}"
    if missing := imagesets.missing(name, root):
        stand_in = imagesets.info(name).stand_in
        return (
            f"not here: {missing[0]} is missing; `{command('datasets get', name)}` fetches it; "
            f"{stand_in} needs no download"
        )
    return "here; arrays are made at the first use"


@app.command()
def get(
    names: Annotated[list[str], typer.Argument(help="Data sets.", show_default=False)],
    option: Option = None,
    data: NewData = None,
) -> None:
    """Fetch data sets and make their arrays, so that no trial has to."""
    options = specs.options(option or [])
    for name in names:
        imagesets.info(name, **options)  # a misspelt name is told before the first download
    failed = False
    for name in names:
        try:
            splits = imagesets.get(name, data, **options)
        except imagesets.DataError as error:
            if len(names) == 1:
                raise
            print(error, file=sys.stderr)
            failed = True
            continue
        print(f"{name}: {', '.join(f'{len(split.images)} {part}' for part, split in splits._asdict().items())}")
    if failed:
        sys.exit(1)
