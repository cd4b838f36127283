"""The VampPrior against the standard prior on MNIST, in log-likelihood: one level and two, over several seeds.

    python -m benchmarks.vampprior --data DIR --out DIR            # twelve trainings, 25 minutes on two cores
    python -m benchmarks.vampprior --out DIR --table               # what is there, as markdown

The authors' settings (gated layers of 300 and 300, 40 latents a level, batch 100, gradients of norm one, Adam 5e-4),
but for 100 pseudo-inputs where they have 500, and 5,000 steps, which are 10 epochs, where they have up to 2,000: the
beginning of a training. Pixels are binarised afresh at each step, those of the test set once. The log-likelihood is
importance-weighted, with 500 draws, on the first 1,000 test images.

Two processes of one thread each. What is finished lies in --out, a file each, and is not trained again; no training is
started that would not end within --minutes, going by those before.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

import torch

import imagesets
from benchmarks import markdown
from study.spec import Budget, StudySpec
from study.spec.preprocessing import Preprocessing
from study.trial.evaluation import evaluate, importance_weighted
from study.trial.images import images_of
from study.trial.training import Training

LEVELS = {"one": ("vampprior", 40), "two": ("hvae", 80)}
PRIORS = ("standard", "vamp")
SETTINGS: dict[str, Any] = {
    "network": "gated",
    "hidden": [300, 300],
    "init": "he",
    "log_var_clip": "narrow",
    "kl_warmup": 0.05,
    "lr": 5e-4,
    "normalise_gradients": True,
}
PSEUDO: dict[str, Any] = {  # which the standard prior has none of
    "pseudo_inputs": 100,
    "pseudo_start": "random",
    "pseudo_activation": "clamp",
    "pseudo_trainable": True,
    "lr_pseudo_inputs": 5e-4,
}


class Job(NamedTuple):
    """One training, and how it is judged."""

    levels: str
    prior: str
    seed: int
    steps: int
    samples: int
    images: int

    def file(self, out: Path) -> Path:
        return out / f"{'-'.join(map(str, self))}.json"


def specification(job: Job) -> StudySpec:
    model, latent = LEVELS[job.levels]
    return StudySpec(
        name="benchmark",
        model=model,
        dataset="mnist",
        preprocessing=Preprocessing(binarise="dynamic"),
        likelihood="bernoulli",
        fixed={**SETTINGS, **(PSEUDO if job.prior == "vamp" else {}), "latent": latent, "prior": job.prior},
        budget=Budget(steps=job.steps, batch=100, report_every=job.steps),
    )


def train(job: Job, data: str | None, out: Path) -> None:
    """Trains, reads the test set, and writes the row."""
    torch.set_num_threads(1)
    splits = imagesets.load("mnist", data)
    spec = specification(job)
    training = Training(spec, spec.fixed, splits, seed=job.seed)
    started = time.perf_counter()
    training.advance(job.steps)
    seconds = time.perf_counter() - started
    test = images_of(splits, "test", spec.preprocessing, spec.pairing)
    found = importance_weighted(training.model, test, job.samples, first=job.images)
    row = {
        **job._asdict(),
        **evaluate(training.model, test, test=True),
        "log_likelihood": float(found.log_likelihood.mean()),
        "standard_error": float(found.log_likelihood.std() / len(found.log_likelihood) ** 0.5),
        "effective_samples": float(found.effective_samples.mean()),
        "seconds": seconds,
    }
    unfinished = job.file(out).with_suffix(".part")
    unfinished.write_text(json.dumps(row, indent=1), encoding="utf-8")
    unfinished.replace(job.file(out))


def run(jobs: Sequence[Job], data: str | None, out: Path, minutes: float) -> None:
    """Trains what is missing, two at a time, as long as the time lasts."""
    out.mkdir(parents=True, exist_ok=True)
    missing = [job for job in jobs if not job.file(out).is_file()]
    started, longest = time.monotonic(), 0.0
    running: dict[Future[None], tuple[Job, float]] = {}
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        while missing or running:
            while missing and len(running) < 2 and time.monotonic() - started + longest <= 60 * minutes:
                job = missing.pop(0)
                running[pool.submit(train, job, data, out)] = job, time.monotonic()
            if not running:
                print(f"{len(missing)} trainings are left for the next call: {minutes:g} minutes are over")
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job, begun = running.pop(future)
                future.result()
                longest = max(longest, time.monotonic() - begun)
                row = json.loads(job.file(out).read_text(encoding="utf-8"))
                print(
                    f"{job.levels}, {job.prior}, seed {job.seed}: log p(x) {row['log_likelihood']:.2f}, "
                    f"ELBO {row['elbo']:.2f} nats, {row['seconds']:.0f} s",
                    flush=True,
                )


def table(jobs: Sequence[Job], out: Path) -> str:
    """What is there of these trainings, as a table in markdown: means over the seeds, and their deviation."""
    rows = [json.loads(job.file(out).read_text(encoding="utf-8")) for job in jobs if job.file(out).is_file()]
    heads = ("levels", "prior", "seeds", "log p(x)", "ELBO", "KL", "KL of z1, z2", "active units", "seconds")
    lines = []
    for levels in LEVELS:
        for prior in PRIORS:
            group = [row for row in rows if (row["levels"], row["prior"]) == (levels, prior)]
            if group:
                by_level = ", ".join(_mean(group, key) for key in ("kl_z1", "kl_z2") if key in group[0])
                cells = [_mean(group, key) for key in ("log_likelihood", "elbo", "kl")]
                rest = [by_level, _mean(group, "active_units"), _mean(group, "seconds", digits=0)]
                lines.append([levels, prior, str(len(group)), *cells, *rest])
    return "\n".join([markdown.table(heads, lines), "", *_differences(rows)])


def _mean(rows: Sequence[dict[str, Any]], key: str, digits: int = 2) -> str:
    return markdown.spread((row[key] for row in rows), digits)


def _differences(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the VampPrior gains, seed by seed."""
    found = {(row["levels"], row["prior"], row["seed"]): row["log_likelihood"] for row in rows}
    said = []
    for levels in LEVELS:
        seeds = [seed for at, prior, seed in found if at == levels and prior == "vamp"]
        gains = [
            found[levels, "vamp", seed] - found[levels, "standard", seed]
            for seed in seeds
            if (levels, "standard", seed) in found
        ]
        if gains:
            listed = ", ".join(f"{gain:+.2f}" for gain in gains)
            said.append(f"{levels}: the VampPrior's gain in log p(x) is {statistics.mean(gains):+.2f} nats ({listed}).")
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="root of the data sets")
    parser.add_argument("--out", type=Path, default=Path("vampprior"), help="folder of what is finished")
    parser.add_argument("--levels", nargs="+", choices=tuple(LEVELS), default=list(LEVELS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--samples", type=int, default=500, help="draws of an image's log-likelihood")
    parser.add_argument("--images", type=int, default=1000, help="test images of the log-likelihood")
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--table", action="store_true", help="train nothing, print what is there")
    given = parser.parse_args()
    jobs = [
        Job(levels, prior, seed, given.steps, given.samples, given.images)
        for levels in given.levels
        for seed in given.seeds
        for prior in PRIORS
    ]
    if not given.table:
        run(jobs, given.data, given.out, given.minutes)
    print(table(jobs, given.out))


if __name__ == "__main__":
    main()
