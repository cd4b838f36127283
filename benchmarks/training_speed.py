"""Rows on steps a second, see `benchmarks.speed`: processes that train in turns."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

import imagesets
from benchmarks.flops import count
from benchmarks.measured import Asked, Row, Sides, in_turns
from benchmarks.serving import Trainings
from benchmarks.steps import dataset

PYTHAE = "0.1.2"
STEPS = {"vae": 50, "vsc": 50, "householder": 50, "iaf": 25, "vlae": 2, "hvae": 10}  # about a second of one turn
FLOWS = ("vae", "vsc", "iaf", "householder")


def command(asked: Asked, way: str, model: str, threads: int = 1) -> list[str]:
    """The process that trains in one way."""
    data = [] if asked.data is None else ["--data", asked.data]
    return [sys.executable, "-m", "benchmarks.steps", way, model, "--threads", str(threads), *data]


def turns(asked: Asked, model: str, mine: Sequence[Sequence[str]], other: Sequence[str], threads: int = 1) -> Sides:
    """Trainings of ours, of one thread each, against another of so many threads."""
    steps = 1 if asked.quick else STEPS[model]
    with Trainings(mine, 1) as our_side, Trainings([other], threads) as their_side:
        return Sides(in_turns(our_side, their_side, steps, asked.repeats))


def alone(way: str, model: str, asked: Asked) -> Sides:
    """One training against another way, one thread each."""
    return turns(asked, model, [command(asked, "ours", model)], command(asked, way, model))


def pair(asked: Asked, other: Sequence[str]) -> Sides:
    """Two trainings of one thread against another way with two threads."""
    return turns(asked, "vae", 2 * [command(asked, "ours", "vae")], other, threads=2)


def pair_papers(asked: Asked) -> Sides:
    return pair(asked, command(asked, "papers", "vae", 2))


def pair_pythae(asked: Asked) -> Sides | str:
    if asked.pythae is None:
        return "not measured: --pythae names no folder for its environment"
    images = asked.folder / "images.npy"
    np.save(images, imagesets.load(dataset(asked.data), asked.data).train.images)
    return pair(asked, [str(environment(asked.pythae)), "-m", "benchmarks.pythae_loop", str(images)])


def environment(folder: Path) -> Path:
    """The interpreter of an environment that has pythae, and torch in the release that this one has."""
    python = folder.absolute() / "bin" / "python"
    if not (folder / "made").is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        release = torch.__version__.partition("+")[0]
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", f"pythae=={PYTHAE}", f"torch=={release}"], check=True
        )
        (folder / "made").touch()
    return python


def compiled(model: str, asked: Asked) -> Sides:
    """Compiled steps against the same as they are written, and from how many steps on that pays."""
    mine = ["env", f"TORCHINDUCTOR_CACHE_DIR={asked.folder / model}", *command(asked, "compiled", model)]
    with Trainings([mine], 1) as fast:
        first = 1 / fast.go(1).cpu
    with Trainings([mine], 1) as fast, Trainings([command(asked, "ours", model)], 1) as usual:
        again = 1 / fast.go(1).cpu
        found = Sides(in_turns(fast, usual, 1 if asked.quick else STEPS[model], asked.repeats))
    ours, theirs = found.ours(), found.theirs()
    assert theirs is not None
    saved = 1 / theirs.cpu - 1 / ours.cpu
    worth = [
        f"{seconds:.0f} s of CPU, which " + (f"{seconds / saved:,.0f} steps save" if saved > 0 else "nothing saves")
        for seconds in (first, again)
    ]
    note = f"the first step takes {worth[0]}; where a process has compiled the same before, {worth[1]}"
    return found._replace(note=note)


def vlae(asked: Asked) -> Sides:
    found = alone("bare", "vlae", asked)
    of_vae, of_vlae = (count(model).step for model in ("vae", "vlae"))
    note = f"a step of vlae takes {of_vlae / 1e9:.1f} GFLOP in products, {of_vlae / of_vae:.0f} times vae's"
    return found._replace(note=note)


ROWS = [
    *(
        Row(
            f"bare-{model}", f"steps/s of {model}", "a bare loop", "at least", 1.0, "cpu", partial(alone, "bare", model)
        )
        for model in FLOWS
    ),
    *(
        Row(
            f"papers-{model}",
            f"steps/s of {model}",
            "the papers' way",
            "at least",
            2.0,
            "cpu",
            partial(alone, "papers", model),
        )
        for model in FLOWS
    ),
    Row(
        "pair-papers", "steps/s of two trainings", "the papers' way, two threads", "at least", 4.0, "clock", pair_papers
    ),
    Row("pair-pythae", "steps/s of two trainings", "pythae's way, two threads", "at least", 2.5, "clock", pair_pythae),
    *(
        Row(
            f"compiled-{model}",
            f"steps/s of {model}, compiled",
            "the same as they are written",
            "at least",
            1.05,
            "cpu",
            partial(compiled, model),
        )
        for model in (*FLOWS, "hvae")
    ),
    Row("vlae", "steps/s of vlae", "a bare loop with full Jacobians", "at least", 3.0, "cpu", vlae),
]
