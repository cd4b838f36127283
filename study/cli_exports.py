"""The commands that write an export, and those that use one: `export`, `evaluate`, `encode` and `sample`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

import imagesets
import models
from study import spec as specs
from study.arguments import Data, Option, Root, RunName
from study.record.folder import RUNS, find, unwritable_output
from study.spec.problems import SpecError
from study.spec.text import counted

Export = Annotated[Path, typer.Argument(help="A folder that `export` wrote.", show_default=False)]
Code = Annotated[bool, typer.Option("--code", help="Run the export's own model file, if it has one.")]


def export(
    given: RunName,
    out: Annotated[Path, typer.Option(help="The folder to make.", show_default=False)],
    root: Root = RUNS,
) -> None:
    """Write the best checkpoint in a form that loads without Ray."""
    run = find(given, root)
    from study.export import CODE
    from study.export import export as write

    made = write(run, out)
    own = ", code=True" if (made / CODE).is_file() else ""
    print(f"{made}: load it with models.load({str(made)!r}{own})")


def evaluate(
    export: Export,
    dataset: Annotated[str | None, typer.Option(help="Another data set than its own.", show_default=False)] = None,
    samples: Annotated[int, typer.Option(help="Importance samples an image; 0 for none.", min=0, max=10**6)] = 100,
    images: Annotated[
        int | None,
        typer.Option(
            help="Only the first so many of each split; if not given all, and 1000 of them importance-weighted.",
            min=1,
            max=2**31 - 1,
            show_default=False,
        ),
    ] = None,
    code: Code = False,
    option: Option = None,
    data: Data = None,
) -> None:
    """Evaluate an exported model on the validation images, and with all that `confirm` takes on the test images."""
    from study.exported import image_shape, trained_on

    model = models.load(export, code=code)
    from study.evaluated import lines

    on = trained_on(export, model)
    name = dataset or on.dataset
    options = {**(on.dataset_options if name == on.dataset else {}), **specs.options(option or [])}
    shape = imagesets.info(name, **options).image_shape if dataset or option else image_shape(export, on)
    if shape != model.image_shape:
        raise models.ModelError(f"{export} is a model of images {list(model.image_shape)}, {name} has {list(shape)}")
    splits = imagesets.load(name, data, **options)
    trained = on.dataset_checksum if name == on.dataset and not option else None
    if trained not in (None, imagesets.checksum(name, data, **options)):
        before = f"whose images had {trained} (config.json: dataset_checksum)"
        raise models.ModelError(f"{options.get('path', name)} has changed since {export} was trained, {before}")
    for line in lines(model, splits, on, name, samples, images):
        print(line, flush=True)


def encode(
    export: Export,
    images: Annotated[
        Path, typer.Argument(metavar="FILE", help="An npz or npy file, or a folder of pictures.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="The table to write, .parquet or .csv.", show_default=False)],
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            help="size=[28,28] or grey=true, as of the data set `images`; may be repeated.",
            show_default=False,
        ),
    ] = None,
    code: Code = False,
) -> None:
    """Encode new images, prepared as in training: a row an image, with its codes, and its label and factors if known.

    They are given as `dataset: images` takes them. Without --option they are made to fit where those of training were,
    by the same size and grey; else they must have the shape that the model takes.
    """
    out = _writable(out, ".parquet", ".csv")
    model = models.load(export, code=code)
    from study.encode import encoded, source_of, write

    source, on = source_of(export, model, images, specs.options(option or []))
    table = encoded(model, source, on.preprocessing, images.name)
    write(table, out)
    print(f"{out}: codes of {counted(len(table), 'image', ',')}, {model.posterior_part.codes_are}")


def sample(
    export: Export,
    out: Annotated[Path, typer.Option(help="The picture to write, .png.", show_default=False)],
    n: Annotated[int, typer.Option("--n", help="How many images.", min=1, max=10_000)] = 64,
    seed: Annotated[int, typer.Option(help="Of the draws.", min=0, max=2**63 - 1)] = 0,
    code: Code = False,
) -> None:
    """Draw from an exported model's prior, and show the decoded images as tiles of a picture."""
    out = _writable(out, ".png")
    model = models.load(export, code=code)
    from study.sample import drawn, write

    write(drawn(model, n, seed), out)
    print(f"{out}: {counted(n, 'image', ',')} drawn from the prior, seed {seed}")


def _writable(out: Path, *suffixes: str) -> Path:
    """A file to write, told before anything is done where it cannot be. Raises SpecError."""
    path = Path(os.path.expanduser(out))
    reason = f"{path} must end in {' or '.join(suffixes)}" if path.suffix not in suffixes else unwritable_output(path)
    if reason:
        raise SpecError("--out", [reason])
    return path
