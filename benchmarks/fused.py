"""Seeds of a configuration as one program, against the same one by one, in one process and thread:

    python -m benchmarks.fused --data DIR                # on this CPU; without DIR, of the 5,000 digits that are there
    python -m benchmarks.fused --data DIR --device cuda  # on a card

Both sides take turns; the figures are medians over these of milliseconds for a step of one seed, of CPU, on a card by
the clock. `small` has a layer of 16 to each side, a code of 4 and batches of 16; `large` two of 500, a code of 50 and
batches of 128; `conv` the convolutions of `models.networks`, a layer of 128 and batches of 64. docs/cluster.md has the
table that came out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch

import imagesets
from benchmarks.markdown import table
from benchmarks.steps import OWN, dataset
from study.spec import StudySpec
from study.trial.fused import Fused
from study.trial.training import Training

SIZES: dict[str, tuple[dict[str, Any], int, int]] = {  # settings, batch, steps of a turn
    "small": ({"hidden": 16, "latent": 4}, 16, 50),
    "large": ({"hidden": [500, 500], "latent": 50}, 128, 4),
    "conv": ({"network": "conv", "hidden": 128, "latent": 10}, 64, 4),
}
MODELS = ("vae", "vsc", "iaf", "hvae")


def trainings(model: str, size: str, seeds: int, data: str | None, device: str) -> list[Training]:
    """Of one configuration."""
    settings, batch, _ = SIZES[size]
    fixed = {**OWN.get(model, {}), **settings}
    budget: Any = {"steps": 10**6, "batch": batch}
    spec = StudySpec(name="fused", model=model, dataset=dataset(data), fixed=fixed, budget=budget)
    splits = imagesets.load(spec.dataset, data)
    return [Training(spec, spec.defaults(), splits, seed=seed, device=device) for seed in range(seeds)]


def measured(together: Sequence[Training], alone: Sequence[Training], steps: int, turns: int) -> tuple[float, float]:
    """Milliseconds for a step of one seed, of both."""
    sides: list[Callable[[int], object]] = [
        Fused(together).advance,
        lambda steps: [training.advance(steps) for training in alone],
    ]
    clock = time.process_time if together[0].device.type == "cpu" else time.perf_counter
    for side in sides:
        side(max(1, steps // 2))
    took: list[list[float]] = [[], []]
    for turn in range(turns):
        for at in (0, 1) if turn % 2 == 0 else (1, 0):
            began = clock()
            sides[at](steps)
            took[at].append((clock() - began) / steps / len(alone) * 1000)
    return median(took[0]), median(took[1])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="root of the data sets; without it, 5,000 digits")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=[*SIZES])
    parser.add_argument("--seeds", type=int, nargs="+", default=[5])
    parser.add_argument("--turns", type=int, default=7)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    lines = []
    for model in given.models:
        for size in given.sizes:
            for seeds in given.seeds:
                together, alone = (trainings(model, size, seeds, given.data, given.device) for _ in range(2))
                cells = [model, size, str(seeds)]
                if why := Fused(together).obstacle():
                    lines.append([*cells, "", "", why])
                    continue
                fused, one_by_one = measured(together, alone, SIZES[size][2], given.turns)
                lines.append([*cells, f"{fused:.2f}", f"{one_by_one:.2f}", f"{one_by_one / fused:.2f}"])
    print(table(["model", "size", "seeds", "fused, ms", "one by one, ms", "times as fast"], lines))


if __name__ == "__main__":
    main()
