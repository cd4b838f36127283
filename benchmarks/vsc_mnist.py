"""What `vae` and `vsc` reach on MNIST: against the replication's figures, and which gate is best on exact numbers.

    python -m benchmarks.vsc_mnist parity --data DIR     # four runs, all 60,000 images, the replication's settings
    python -m benchmarks.vsc_mnist gates --data DIR      # exact validation ELBO, 50,000/10,000 split, every variant

One layer of 400, Adam 1e-3, batch 32, 20,625 steps (11 epochs of 60,000), grey-level cross-entropy, one draw an image.
Each run takes two to three minutes on one core. Results go to --out, a CSV; runs found there are not repeated.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import imagesets
from benchmarks.kept import record, rows
from imagesets import Split, Splits
from models.base import VAE
from study.spec import Budget, StudySpec
from study.trial.evaluation import BATCH, evaluate
from study.trial.images import Images
from study.trial.training import Training

STEPS = 20_625
COLUMNS = (
    "table",
    "name",
    "seed",
    "steps",
    "relaxed",
    "elbo",
    "reconstruction",
    "kl",
    "zero_fraction",
    "active_units",
    "seconds",
)

REPLICATION = {
    "gate": "sigmoid",
    "gamma_param": "neg_relu",
    "gamma_init": None,
    "steepness": 50.0,
    "steepness_final": 50.0,
    "kl_warmup": 0.0,
}


class Parity(NamedTuple):
    """A run of the replication (Alfo5123, 2019), and what its logs give after 11 epochs, in nats a test image."""

    model: str
    config: dict[str, Any]
    expected: float
    tolerance: float


PARITY = {
    "vae latent 16": Parity("vae", {"latent": 16}, 104.8, 1.2),
    "vae latent 200": Parity("vae", {"latent": 200}, 106.3, 1.2),
    "vsc alpha 0.5 latent 16": Parity("vsc", {"latent": 16, "alpha": 0.5, **REPLICATION}, 112.5, 1.5),
    "vsc alpha 0.5 latent 200": Parity("vsc", {"latent": 200, "alpha": 0.5, **REPLICATION}, 115.0, 1.5),
}

SIGMOID = {
    "gate": "sigmoid",
    "gamma_param": "sigmoid",
    "gamma_init": 0.5,
    "steepness": 50.0,
    "steepness_final": 200.0,
    "kl_warmup": 0.0,
}
OPEN = {**SIGMOID, "gamma_init": 0.9}


def straight_through(c: float) -> dict[str, Any]:
    return {**SIGMOID, "gate": "straight_through", "steepness": c, "steepness_final": c}


WARM = {"kl_warmup": 0.2}
GATES: dict[str, dict[str, Any]] = {
    "neg_relu, c 50": REPLICATION,
    "neg_relu, c 50 to 200": {**REPLICATION, "steepness_final": 200.0},
    "sigmoid, c 50 to 200": SIGMOID,
    "sigmoid, c 50": {**SIGMOID, "steepness_final": 50.0},
    "sigmoid, c 5 to 200": {**SIGMOID, "steepness": 5.0},
    "sigmoid, c 50 to 200, gamma from 0.1": {**SIGMOID, "gamma_init": 0.1},
    "sigmoid, c 50 to 200, gamma from 0.9": OPEN,
    "sigmoid, c 50 to 200, KL warm-up 0.2": {**SIGMOID, **WARM},
    "neg_relu, c 50 to 200, KL warm-up 0.2": {**REPLICATION, "steepness_final": 200.0, **WARM},
    "sigmoid, straight-through c 10": straight_through(10.0),
    "sigmoid, straight-through c 10, KL warm-up 0.2": {**straight_through(10.0), **WARM},
    "sigmoid, concrete c 2 to 10": {**SIGMOID, "gate": "concrete", "steepness": 2.0, "steepness_final": 10.0},
    "sigmoid, c 50 to 200, gamma from 0.9, KL warm-up 0.2": {**OPEN, **WARM},
    "sigmoid, c 10 to 200, gamma from 0.9, KL warm-up 0.2": {**OPEN, "steepness": 10.0, **WARM},
    "sigmoid, straight-through c 10, gamma from 0.9, KL warm-up 0.2": {
        **straight_through(10.0),
        "gamma_init": 0.9,
        **WARM,
    },
    "sigmoid, straight-through c 50, gamma from 0.9, KL warm-up 0.2": {
        **straight_through(50.0),
        "gamma_init": 0.9,
        **WARM,
    },
    "sigmoid, straight-through c 4": straight_through(4.0),
    "sigmoid, straight-through c 20": straight_through(20.0),
    "neg_relu, straight-through c 10": {**straight_through(10.0), "gamma_param": "neg_relu", "gamma_init": None},
    "sigmoid, c 50 to 200, gamma from 0.99": {**SIGMOID, "gamma_init": 0.99},
}


@torch.no_grad()
def relaxed_elbo(model: VAE, images: Images, step: int) -> float:
    """The ELBO with the gate of training, as the replication evaluates; no bound on anything."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = [model.elbo(x, step) for x in images.batches(BATCH)]
    return torch.cat([part.log_lik - part.kl for part in parts]).mean().item()


def specification(model: str, config: dict[str, Any], steps: int = STEPS) -> StudySpec:
    """The replication's settings, and these."""
    own = {"alpha": 0.5} if model == "vsc" else {}
    return StudySpec(
        name="benchmark",
        model=model,
        dataset="mnist",
        fixed={"hidden": 400, "lr": 1e-3, **own, **config},
        budget=Budget(steps=steps, batch=32, report_every=steps),
    )


def train(model: str, config: dict[str, Any], splits: Splits, seed: int) -> dict[str, Any]:
    """One run; its exact and relaxed numbers on the validation images of `splits`."""
    spec = specification(model, config)
    training = Training(spec, spec.fixed, splits, seed=seed)
    started = time.perf_counter()
    training.advance(STEPS)
    seconds = time.perf_counter() - started
    found = evaluate(training.model, training.valid_images)
    relaxed = relaxed_elbo(training.model, training.valid_images, STEPS)
    return {**found, "relaxed": relaxed, "steps": STEPS, "seed": seed, "seconds": seconds}


def everything_for_training(splits: Splits) -> Splits:
    """All 60,000 training images, and the test images in the place of validation, as the replication has it."""
    images = np.concatenate([splits.train.images, splits.valid.images])
    return Splits(Split(images), splits.test, splits.test)


def done(out: Path) -> set[tuple[str, str, str]]:
    return {(row["table"], row["name"], row["seed"]) for row in rows(out)}


def parity(splits: Splits, out: Path, seed: int) -> None:
    for name, (model, config, expected, tolerance) in PARITY.items():
        if ("parity", name, str(seed)) in done(out):
            continue
        row = train(model, config, everything_for_training(splits), seed)
        record(out, COLUMNS, {"table": "parity", "name": name, **row})
        verdict = "within" if abs(-row["relaxed"] - expected) <= tolerance else "NOT within"
        print(f"{name}: {-row['relaxed']:.2f} nats, {verdict} {tolerance} of {expected}", flush=True)


def gates(splits: Splits, out: Path, seed: int, latent: int, alphas: list[float], only: str) -> None:
    for alpha in alphas:
        for variant, config in GATES.items():
            name = f"alpha {alpha}, latent {latent}, {variant}"
            wanted = variant == only if only in GATES else only in variant
            if not wanted or ("gates", name, str(seed)) in done(out):
                continue
            row = train("vsc", {**config, "latent": latent, "alpha": alpha}, splits, seed)
            record(out, COLUMNS, {"table": "gates", "name": name, **row})
            print(
                f"{name}: exact {-row['elbo']:.2f}, relaxed {-row['relaxed']:.2f} nats, "
                f"{row['zero_fraction']:.3f} zeros, {row['active_units']:.0f} active units",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("parity", "gates"))
    parser.add_argument("--data", help="root of the data sets")
    parser.add_argument("--out", type=Path, default=Path("vsc_mnist.csv"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--latent", type=int, default=200, help="of the gates table")
    parser.add_argument("--alpha", type=float, nargs="+", default=[0.01, 0.5], help="of the gates table")
    parser.add_argument("--only", default="", help="the variant of this name, or those that hold this text")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    splits = imagesets.load("mnist", arguments.data)
    if arguments.table == "parity":
        parity(splits, arguments.out, arguments.seed)
    else:
        gates(splits, arguments.out, arguments.seed, arguments.latent, arguments.alpha, arguments.only)


if __name__ == "__main__":
    main()
