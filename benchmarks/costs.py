"""Where the time of a trial goes, by a profile of one in this process, without Ray:

    python -m benchmarks.costs --data DIR       # DIR holds MNIST/raw; without it, 5,000 digits

Tables of a training step, an evaluation and a report of `vae` (two layers of 500 to each side, a code of 50, batches of
128), of a whole trial of ten reports and hardly any training, `benchmarks.throughput`'s, and of the driver's work for
one. One thread, milliseconds by the clock; an indented line is part of the one above. The profiler makes Python slower
and leaves what torch computes as it is.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import imagesets
from benchmarks.large_study import drawn_report
from benchmarks.markdown import table
from benchmarks.simulated import Reported, Simulation
from benchmarks.steps import dataset, pinned, rooted, validated
from benchmarks.throughput import EVERY, PRESET, REPORTS
from study.record.folder import Run
from study.record.storage import create, open_run
from study.spec import StudySpec
from study.spec.measures import METRICS
from study.trial.trial import Trial


class Part(NamedTuple):
    """A line of a table: the functions whose time it has, as the end of their file and their name."""

    what: str
    functions: tuple[tuple[str, str], ...]
    depth: int = 1


STEP = (
    Part("the batch, gathered and made into floats", (("trial/training.py", "images_of"),)),
    Part("forwards", (("models/base.py", "loss"),)),
    Part("products", (("", "<built-in method torch._C._nn.linear>"),), 2),
    Part("likelihood and KL", (("", "log_prob"), ("models/distributions.py", "closed_kl")), 2),
    Part("backwards", (("torch/_tensor.py", "backward"),)),
    Part("Adam", (("optim/adam.py", "step"),)),
)
EVALUATION = (
    Part("images, made into floats", (("trial/images.py", "batches"),)),
    Part("the posterior", (("models/base.py", "posterior"),)),
    Part("decoding, and the likelihood", (("models/base.py", "log_likelihood"),)),
    Part("measures of codes", (("metrics/", "hoyer"), ("metrics/", "zero_fraction"), ("metrics/", "small_fraction"))),
    Part("measures of means", (("metrics/", "active_units"), ("metrics/", "effective_latents"))),
)
REPORT = (
    Part("evaluation", (("trial/training.py", "evaluate"),)),
    Part("curves and pictures", (("trial/trial.py", "_show"),)),
    Part("TensorBoard", (("trial/curves.py", "__init__"), ("trial/curves.py", "_write")), 2),
    Part("codes, reconstructions, traversal", (("trial/snapshot.py", "take"),), 2),
    Part("their arrays, compressed", (("trial/snapshot.py", "_savez"),), 2),
    Part("PNG, one of them for TensorBoard", (("trial/snapshot.py", "png"),), 2),
    Part("checkpoint", (("trial/trial.py", "_save"),)),
    Part("serialised", (("trial/checkpoint.py", "_content"),), 2),
    Part("written to the disk, last and best", (("trial/checkpoint.py", "_write"),), 2),
)
TRIAL = (
    Part("begin: model, optimiser, data", (("trial/trial.py", "__init__"),)),
    Part("training", (("trial/training.py", "advance"),)),
    *REPORT,
    Part("end", (("trial/trial.py", "close"),)),
)


DRIVER = (
    Part("a suggestion", (("tune/searcher.py", "suggest"),)),
    Part("taken up", (("record/trials.py", "take_up"),)),
    Part("ten reports stored", (("record/trials.py", "store_report"),)),
    Part("the end told", (("record/trials.py", "finish"),)),
    Part("in all of these, SQLite's commits", (("", "<method 'commit' of 'sqlite3.Connection' objects>"),), 2),
)


def profiled(work: Callable[[], object]) -> pstats.Stats:
    profile = cProfile.Profile()
    profile.runcall(work)
    return pstats.Stats(profile)


def seconds(stats: pstats.Stats, functions: Iterable[tuple[str, str]]) -> float:
    """What functions took, with what they called."""
    calls: dict[tuple[str, int, str], tuple[Any, ...]] = stats.stats  # type: ignore[attr-defined]
    return sum(
        taken[3]
        for (file, _, name), taken in calls.items()
        for wanted, function in functions
        if name == function and (wanted in file if wanted.endswith("/") else file.endswith(wanted) or not wanted)
    )


def lines(stats: pstats.Stats, whole: str, parts: Iterable[Part], count: int) -> list[list[str]]:
    """A table's lines: milliseconds of each of so many times, and its share of the whole, which stands first."""
    total = stats.total_tt  # type: ignore[attr-defined]
    taken = [(whole, 0, total), *((part.what, part.depth, seconds(stats, part.functions)) for part in parts)]
    left = total - sum(each for _, depth, each in taken if depth == 1)
    return [
        ["&emsp;" * max(0, depth - 1) + what, f"{1000 * each / count:.2f}", f"{each / total:.0%}"]
        for what, depth, each in [*taken, ("the rest", 1, left)]
    ]


def specification(root: str | None, given: dict[str, Any]) -> StudySpec:
    return StudySpec.model_validate({**given, "dataset": dataset(root)})


def trial(spec: StudySpec, root: str | None, folder: Path) -> Trial:
    """A trial of the paper's defaults."""
    return Trial(spec, spec.defaults(), imagesets.load(spec.dataset, root), seed=0, folder=folder)


def driver(folder: Path, trials: int) -> pstats.Stats:
    """The driver's work for trials of ten reports, one after the other, without Ray and on SQLite."""
    given = {**PRESET, "trials": trials + 1, "dataset": "mnist5k"}
    spec, run = StudySpec.model_validate(given), Run(folder / "driver")
    create(run, spec)
    said = drawn_report(np.random.default_rng(0), -110.0, 0)
    reports = [{**said, "steps": EVERY * i, "measures": [*METRICS]} for i in range(1, REPORTS + 1)]
    opened = open_run(run, spec, create=True)
    ends = Simulation(opened, lambda _: [Reported(1.0, report) for report in reports], 1).ends()
    next(ends)  # what is done once
    return profiled(lambda: [*ends])


def tables(root: str | None, folder: Path, steps: int, times: int) -> list[str]:
    """The tables.

    Args:
        root: of the data sets.
        folder: for the trials' files.
        steps: of the training that is profiled.
        times: how many evaluations, reports and trials are.
    """
    budget = {"steps": 10**6, "report_every": 1, "batch": 128}
    sized = {"name": "costs", "model": "vae", "fixed": pinned("vae"), "budget": budget}
    made = trial(specification(root, sized), root, folder / "sized")
    made.report()  # what is done once
    training = made.training
    training.advance(2)
    found = [("a training step", lines(profiled(lambda: training.advance(steps)), "a step", STEP, steps))]
    stats = profiled(lambda: [training.evaluate() for _ in range(times)])
    images = len(training.valid_images)
    found.append((f"an evaluation of {images:,} images", lines(stats, "an evaluation", EVALUATION, times)))
    stats = profiled(lambda: [made.report() for _ in range(times)])
    one_step = Part("a training step", (("trial/training.py", "advance"),))
    found.append(("a report after one step", lines(stats, "a report", (one_step, *REPORT), times)))
    made.close()
    short_spec = specification(root, {**PRESET, "validation": validated(root, 1000)})

    def whole(number: int) -> None:
        short = trial(short_spec, root, folder / str(number))
        while not short.done:
            short.report()
        short.close()

    whole(-1)
    stats = profiled(lambda: [*map(whole, range(times))])
    found.append(("a trial of ten reports", lines(stats, "a trial", TRIAL, times)))
    found.append(("the driver", lines(driver(folder, 20 * times), "a trial of ten reports", DRIVER, 20 * times)))
    return [table([what, "ms", "share"], each) for what, each in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder that holds MNIST/raw")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        print("\n\n".join(tables(rooted(given.data, Path(folder)), Path(folder), given.steps, given.times)))


if __name__ == "__main__":
    main()
