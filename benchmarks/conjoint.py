"""The conjoint autoencoders on pairs whose shared and private parts are known, both kinds, with both pairings.

    python -m benchmarks.conjoint points --out DIR                 # twelve trainings: how near the truth they come
    python -m benchmarks.conjoint digits --out DIR [--data DIR]    # four: what the parts of a code hold
    python -m benchmarks.conjoint points digits --out DIR --table  # what is there, as markdown

points: `conjoint_points`, whose log-likelihood is at most -log 16 nats a pair by index and -log 64 by targets, over
three seeds. It is importance-weighted, with 1,000 draws, on 100 test pairs, of which no more than 64 differ.

digits: `mnist_backgrounds`, two backgrounds a stream, pixels black or white by a threshold. Of each part of the test
codes a probe, the 15 nearest of 4,000 training codes, says the digit and both backgrounds. Then the backgrounds of
stream 2 are put behind 200 digits of stream 1, five steps each: a step is accepted where the digit is still that of
stream 1 and the background still the one that was given, by the 15 nearest training images of stream 2.

What is finished stands in --out, a row each in a CSV file, and is not trained again. --quick is one seed and a tenth of
the steps, into a file of its own.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

import imagesets
from analysis.figures import background_transfer
from analysis.figures.background_transfer import NEIGHBOURS, STEPS, pictures
from benchmarks import markdown
from benchmarks.kept import missing, record, rows
from models.base import VAE
from models.conjoint import Conjoint
from study.spec import Budget, StudySpec
from study.spec.preprocessing import Pairing, Preprocessing
from study.trial.evaluation import evaluate, evaluating, importance_weighted
from study.trial.images import Images, images_of
from study.trial.training import Training

KINDS = ("gaussian", "adversarial")
PAIRINGS: tuple[Pairing, ...] = ("index", "targets")
TRUTH = {"index": -math.log(16), "targets": -math.log(64)}
STYLES = [["horizontal", "mosaic"], ["vertical", "black"]]  # the playground's, with two a stream
PARTS = ("z1", "z2", "zs")
FACTORS = ("digit", "background_1", "background_2")
SETTINGS: dict[str, dict[str, Any]] = {
    "points": {"hidden": (64, 64), "noise_hidden": (64,), "discriminator_hidden": (128, 128, 128)},
    "digits": {"hidden": (256, 128), "noise_hidden": (128,), "discriminator_hidden": (256, 128, 128)},
}
COMMON: dict[str, Any] = {"lr": 1e-3, "latent": 2, "private": 2, "discriminator_steps": 2}
LENGTH = {("points", "gaussian"): 4000, ("points", "adversarial"): 6000, ("digits", "gaussian"): 4000}


class Job(NamedTuple):
    """One training."""

    data: str
    kind: str
    pairing: Pairing
    seed: int
    steps: int


COLUMNS = {
    "points": (*Job._fields, "log_likelihood", "gap", "elbo", "adversarial_elbo", "effective_samples", "seconds"),
    "digits": (
        *Job._fields,
        *(f"{factor}_{part}" for factor in FACTORS for part in PARTS),
        *(f"{what}_{n}" for what in ("digit_kept", "background_kept", "accepted") for n in range(1, STEPS + 1)),
        *("log_likelihood", "elbo", "adversarial_elbo", "effective_samples", "seconds"),
    ),
}


def jobs(data: Sequence[str], seeds: Sequence[int], quick: bool) -> list[Job]:
    """The trainings, the first seed of all before the second of any; one seed of digits."""
    found = []
    for name in data:
        for seed in seeds if name == "points" and not quick else seeds[:1]:
            for pairing in PAIRINGS:
                for kind in KINDS:
                    steps = LENGTH.get((name, kind), 4000) // (10 if quick else 1)
                    found.append(Job(name, kind, pairing, seed, steps))
    return found


def specification(job: Job) -> StudySpec:
    digits = job.data == "digits"
    settings = {**COMMON, **SETTINGS[job.data], "posterior": job.kind}
    if job.kind == "gaussian":  # which has no discriminator
        settings = {key: value for key, value in settings.items() if not key.startswith(("noise", "discriminator"))}
    return StudySpec(
        name="benchmark",
        model="conjoint",
        dataset="mnist_backgrounds" if digits else "conjoint_points",
        dataset_options={"styles": STYLES} if digits else {},
        preprocessing=Preprocessing(binarise="threshold", threshold=0.5) if digits else Preprocessing(),
        pairing=job.pairing,
        likelihood="bernoulli",
        fixed=settings,
        objective="reconstruction",  # which both kinds have; nothing is compared here
        budget=Budget(steps=job.steps, batch=64, report_every=job.steps),
    )


def train(job: Job, data: str | None) -> dict[str, Any]:
    """Trains, reads the test set, and returns the row."""
    torch.set_num_threads(1)
    spec = specification(job)
    splits = imagesets.load(spec.dataset, data, **spec.dataset_options)
    training = Training(spec, spec.fixed, splits, seed=job.seed)
    started = time.process_time()
    training.advance(job.steps)
    seconds = time.process_time() - started
    model, test = training.model, images_of(splits, "test", spec.preprocessing, spec.pairing)
    found = importance_weighted(model, test, 1000, first=100)
    row = {**job._asdict(), **evaluate(model, test), "seconds": seconds}
    if job.kind == "adversarial":
        row["elbo"] = ""  # its posterior has no density
    row["log_likelihood"] = float(found.log_likelihood.mean())
    row["effective_samples"] = float(found.effective_samples.mean())
    if job.data == "points":
        return {**row, "gap": TRUTH[job.pairing] - row["log_likelihood"]}
    train_images = images_of(splits, "train", spec.preprocessing, spec.pairing)
    return {**row, **probed(model, train_images, test), **transferred(model, train_images, test)}


def nearest(train: NDArray, known: NDArray, test: NDArray) -> NDArray:
    """What most of the nearest training rows are, for each test row."""
    said: NDArray = KNeighborsClassifier(NEIGHBOURS).fit(train, known).predict(test)
    return said


def probed(model: VAE, train: Images, test: Images) -> dict[str, float]:
    """Accuracy of a probe for each factor on each part of the codes."""
    assert isinstance(model, Conjoint)
    codes = [_codes(model, images) for images in (train, test)]
    known = train.factors, test.factors
    assert known[0] is not None
    assert known[1] is not None
    return {
        f"{factor}_{part}": float((nearest(codes[0][:, at], known[0][:, j], codes[1][:, at]) == known[1][:, j]).mean())
        for j, factor in enumerate(FACTORS)
        for part, at in model.slices.items()
    }


def _codes(model: VAE, images: Images) -> NDArray[np.float32]:
    with evaluating(model, images):
        return torch.cat([model.codes(x) for x in images]).numpy()


def transferred(model: VAE, train: Images, test: Images) -> dict[str, float]:
    """Shares of transfers in which the digit, the background, and both are kept, after each step."""
    assert isinstance(model, Conjoint)
    kept = background_transfer.data(model, test, pictures(STYLES[1], test), judges=train).accepted
    named = zip(("digit_kept", "background_kept", "accepted"), kept)
    return {f"{what}_{n}": float(share) for what, shares in named for n, share in enumerate(shares, 1)}


def table(found: Sequence[Mapping[str, str]], data: str) -> str:
    """The rows of a data set in markdown; means over the seeds, and their deviation."""
    heads, cells = _LAID_OUT[data]
    lines = []
    for pairing in PAIRINGS:
        for kind in KINDS:
            group = [row for row in found if (row["kind"], row["pairing"]) == (kind, pairing)]
            if group:
                lines.append([kind, pairing, str(len(group)), *cells(group)])
    return markdown.table(heads, lines)


def _mean(group: Sequence[Mapping[str, str]], key: str, digits: int = 2) -> str:
    return markdown.spread((row[key] for row in group), digits)


def _of_points(group: Sequence[Mapping[str, str]]) -> Iterator[str]:
    for key in ("log_likelihood", "gap", "elbo", "adversarial_elbo", "effective_samples"):
        yield _mean(group, key, 1 if key == "effective_samples" else 2)
    yield _mean(group, "seconds", 0)


def _of_digits(group: Sequence[Mapping[str, str]]) -> Iterator[str]:
    for factor in FACTORS:
        yield ", ".join(_mean(group, f"{factor}_{part}") for part in PARTS)
    for what in ("digit_kept", "background_kept", "accepted"):
        yield ", ".join(_mean(group, f"{what}_{n}") for n in (1, STEPS))
    yield _mean(group, "log_likelihood", 1)


_LAID_OUT: dict[str, tuple[Sequence[str], Callable[[Sequence[Mapping[str, str]]], Iterator[str]]]] = {
    "points": (
        ("kind", "pairing", "seeds", "log p(x)", "gap to the truth", "ELBO", "adversarial ELBO", "ESS", "CPU seconds"),
        _of_points,
    ),
    "digits": (
        (
            *("kind", "pairing", "seeds", "digit from z1, z2, zs", "background 1", "background 2"),
            *("digit kept after 1, 5", "background kept", "both", "log p(x)"),
        ),
        _of_digits,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=tuple(SETTINGS))
    parser.add_argument("--data", help="root of the data sets")
    parser.add_argument("--out", type=Path, default=Path("conjoint"), help="folder of what is finished")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--pairings", nargs="+", choices=PAIRINGS, default=PAIRINGS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true", help="train nothing, print what is there")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    wanted = [
        job
        for job in jobs(given.what, given.seeds, given.quick)
        if job.kind in given.kinds and job.pairing in given.pairings
    ]
    files = {data: given.out / f"{data}{'-quick' if given.quick else ''}.csv" for data in given.what}
    for data, file in files.items():
        for job in missing(file, [job for job in wanted if job.data == data]) if not given.table else ():
            row = train(job, given.data)
            record(file, COLUMNS[data], row)
            print(f"{', '.join(map(str, job))}: log p(x) {row['log_likelihood']:.2f} nats", flush=True)
    for data, file in files.items():
        print(table(rows(file), data))


if __name__ == "__main__":
    main()
