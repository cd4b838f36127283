"""What `vae`, beta-VAE, `nonsyn` and `factor` make of `sprites`: numbers over three seeds, and what each latent shows.

    python -m benchmarks.disentangling --data DIR --out disentangling

The published networks for dSprites, ten latents, batch 64, Adam 5e-4, 1,500 steps, each setting over three seeds. The
twelve trainings, in two processes of one thread each, take about half an hour on two cores; what --out holds is not
trained again. Nothing is downloaded. At the end it prints the tables of docs/results.md; the second one has scores of
disentanglement; the third, for each factor, the largest share of an active latent's variance that goes with it. Both
are of the posterior means over a grid of images that has every combination of some values of each factor. In --out is
a picture of these means for each setting's first seed, by which Barrientos & Sootla (2018) judge.

Such a training is a beginning: Barrientos & Sootla train for 150,000 steps, Locatello et al. (2019) for 300,000.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import imagesets
import metrics
from analysis.figures import mean_activations as activations
from benchmarks import markdown
from benchmarks.kept import record, rows
from imagesets import Split
from imagesets.factors import FACTORS
from models.base import VAE
from study.spec import Budget, StudySpec
from study.trial.evaluation import evaluate
from study.trial.training import Training

COMMON: dict[str, Any] = {"network": "dsprites", "latent": 10, "lr": 5e-4}
SEEDS = (1, 2, 3)
PROCESSES = 2


class Setting(NamedTuple):
    """A model, and what its configuration has besides COMMON."""

    model: str
    config: dict[str, Any]


PLAIN = {"posterior": "gaussian", "prior": "standard", "kl_warmup": 0.0}
SETTINGS = {
    "vae": Setting("vae", {**PLAIN, "beta": 1.0}),
    "beta-VAE, beta 4": Setting("vae", {**PLAIN, "beta": 4.0}),
    "nonsyn, alpha 5, omega 0.9": Setting(
        "nonsyn",
        {"alpha": 5.0, "omega": 0.9, "policy": "sorted", "update": "joint", "alpha_warmup": 0.0, "fc_act": "none"},
    ),
    "factor, gamma 35": Setting("factor", {"gamma": 35.0, "lr_discriminator": 1e-4}),
}
NUMBERS = ("elbo", "reconstruction", "kl", "active_units", "synergy", "total_correlation", "discriminator_accuracy")

# The images of the mean activations: every shape and size, some angles and places, in the order of the grid.
GRID = {"shape": 3, "scale": 6, "orientation": 20, "pos_x": 8, "pos_y": 8}
SHOWN = {name: activations.evenly(len(FACTORS[name]), count) for name, count in GRID.items()}
DCI = ("disentanglement", "completeness", "informativeness")
SCORED = 20_000  # of the grid's images, for DCI: half for its trees, half for what they get right
COLUMNS = ("setting", "seed", "steps", *NUMBERS, *(f"best_{name}" for name in GRID), "seconds")


def mean_activations(model: VAE, split: Split) -> NDArray[np.float64]:
    """The posterior means over the grid: an axis for each factor, then the latents."""
    return activations.data(model, activations.grid(split, GRID)).means


def shares(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each latent's variance over the grid, the share that goes with each factor alone, [Z, K], in [0, 1].

    That is the variance of the latent's mean given the factor over its variance, 0 for a latent that is not active.

    Args:
        means: an axis for each factor, then the latents.
    """
    factors = range(means.ndim - 1)
    variance = means.var(axis=tuple(factors))
    given = [means.mean(axis=tuple(other for other in factors if other != k)).var(axis=0) for k in factors]
    return np.stack(given, axis=1) / np.where(variance > activations.ACTIVE, variance, np.inf)[:, None]


def scores(means: NDArray[np.floating[Any]]) -> dict[str, float]:
    """MIG, FactorVAE score and the three numbers of DCI (lightgbm's trees) of the means over the grid.

    Args:
        means: an axis for each factor, then the latents.
    """
    codes = means.reshape(-1, means.shape[-1])
    factors = np.indices(means.shape[:-1]).reshape(means.ndim - 1, -1).T
    chosen = np.random.default_rng(0).permutation(len(codes))[:SCORED]
    fitted, held_out = np.split(chosen, 2)
    test = (codes[held_out], factors[held_out])
    dci = metrics.dci(codes[fitted], factors[fitted], test=test, trees="lightgbm")
    return {
        "mig": metrics.mig(codes, factors),
        "factor_vae": metrics.factor_vae(codes, factors, np.random.default_rng(0)),
        **dict(zip(DCI, dci)),
    }


def with_scores(row: dict[str, str], out: Path) -> dict[str, str]:
    """A row with the scores of the means that its training left."""
    found = scores(np.load(means_file(out, row["setting"], row["seed"])))
    return {**row, **{name: str(value) for name, value in found.items()}}


def train(name: str, seed: int, steps: int, data: str | None, out: Path) -> dict[str, Any]:
    """One training; its numbers on validation images, and its mean activations in a file."""
    torch.set_num_threads(1)
    setting = SETTINGS[name]
    budget = Budget(steps=steps, batch=64, report_every=steps)
    spec = StudySpec(
        name="benchmark",
        model=setting.model,
        dataset="sprites",
        fixed={**COMMON, **setting.config},
        budget=budget,
    )
    started = time.perf_counter()
    splits = imagesets.load("sprites", data)
    training = Training(spec, {**COMMON, **setting.config}, splits, seed=seed)
    training.advance(steps)
    found = evaluate(training.model, training.valid_images, count=5000)
    training.model.eval()
    means = mean_activations(training.model, splits.train)
    np.save(means_file(out, name, seed), means.astype(np.float32))
    best = dict(zip(GRID, shares(means).max(axis=0)))
    seconds = time.perf_counter() - started
    own = {f"best_{factor}": share for factor, share in best.items()}
    return {"setting": name, "seed": seed, "steps": steps, **found, **own, "seconds": seconds}


def means_file(out: Path, setting: str, seed: int | str) -> Path:
    return out / f"{setting.replace(',', '').replace(' ', '-')}-{seed}.npy"


# Rows that are kept.


def missing(
    found: Sequence[dict[str, str]], names: Sequence[str], seeds: Sequence[int], steps: int
) -> list[tuple[str, int]]:
    """The (setting, seed) pairs that have no row of so many steps, a seed of all settings before the next."""
    done = {(row["setting"], row["seed"], row["steps"]) for row in found}
    return [(name, seed) for seed in seeds for name in names if (name, str(seed), str(steps)) not in done]


# What is printed and drawn.


def tables(found: Sequence[dict[str, str]], steps: int) -> str:
    """Three tables in Markdown: mean and standard deviation over the seeds."""
    numbers = {
        "-ELBO": ("elbo", -1.0, 1),
        "-log p(x given z)": ("reconstruction", -1.0, 1),
        "KL": ("kl", 1.0, 1),
        "active units": ("active_units", 1.0, 1),
        "synergy": ("synergy", 1.0, 2),
        "total correlation": ("total_correlation", 1.0, 2),
        "accuracy of D": ("discriminator_accuracy", 1.0, 2),
    }
    scored = {
        "MIG": ("mig", 1.0, 3),
        "FactorVAE score": ("factor_vae", 1.0, 3),
        **{f"DCI {n}": (n, 1.0, 3) for n in DCI},
    }
    best = {name.replace("_", " "): (f"best_{name}", 1.0, 2) for name in GRID}
    return "\n\n".join(_table(found, steps, columns) for columns in (numbers, scored, best))


def _table(found: Sequence[dict[str, str]], steps: int, columns: dict[str, tuple[str, float, int]]) -> str:
    lines = []
    for name in SETTINGS:
        of_it = [row for row in found if row["setting"] == name and row["steps"] == str(steps)]
        if of_it:
            cells = [
                markdown.spread((sign * float(row[key]) for row in of_it if row.get(key)), digits)
                for key, sign, digits in columns.values()
            ]
            lines.append([name, str(len(of_it)), *cells])
    return markdown.table(["setting", "seeds", *columns], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="root of the data sets")
    parser.add_argument("--out", type=Path, default=Path("disentangling"), help="folder of the rows and pictures")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--only", nargs="+", choices=[*SETTINGS], default=[*SETTINGS], help="these settings")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = arguments.out / "disentangling.csv"
    owed = missing(rows(table), arguments.only, arguments.seeds, arguments.steps)
    if owed:
        imagesets.load("sprites", arguments.data)  # drawn once, before two processes would draw it
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        running = [
            pool.submit(train, name, seed, arguments.steps, arguments.data, arguments.out) for name, seed in owed
        ]
        for done in as_completed(running):
            row = done.result()
            record(table, COLUMNS, row)
            print(
                f"{row['setting']}, seed {row['seed']}: {-row['elbo']:.1f} nats, KL {row['kl']:.1f}, "
                f"{row['active_units']:.0f} active units; {row['seconds']:.0f} s",
                flush=True,
            )
    for name in arguments.only:
        kept = means_file(arguments.out, name, arguments.seeds[0])
        if kept.is_file():
            means = np.load(kept)
            found = activations.Activations(SHOWN, means, [f"z {j}" for j in range(means.shape[-1])])
            activations.picture(found, f"Mean activations, {name}").savefig(kept.with_suffix(".png"), dpi=100)
    print(tables([with_scores(row, arguments.out) for row in rows(table)], arguments.steps))


if __name__ == "__main__":
    main()
