"""How much faster FactorVAE's score is from a table of codes than from images that are encoded for each vote.

    python -m benchmarks.votes --data DIR
    python -m benchmarks.votes --data DIR --images 10000 --sample 20     # a quick look

The published network for dSprites, not trained, with ten latents, on all of `sprites` with about 100,000 images; 10,000
votes train and 5,000 evaluate, of 64 images each. Prints processor seconds, and how many times faster ours is:

- end to end, encoding every image once, against encoding 64 fresh images for each vote, as published code does, of
  which --sample votes are timed and multiplied: at least 10 times. The images are 9.6 times as many for 100,000; the
  rest is what rows out of order and a batch of its own for each vote cost. Printed too for batches as small as ours;
- from the stored codes, all votes at once, against a loop over the votes: at least 4 times.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import imagesets
import metrics
import models
from imagesets.base import Split
from imagesets.factors import FACTORS
from models.base import VAE
from study.trial.evaluation import ENCODED, evaluating
from study.trial.images import Images

VOTES, SIZE = 15_000, 64
PIECES = 20
SIDE = len(FACTORS["pos_x"])

Array = NDArray[Any]


def processor_seconds(work: Callable[..., Any], *arguments: Any) -> float:
    began = time.process_time()
    work(*arguments)
    return time.process_time() - began


def options(images: int) -> dict[str, int]:
    """Of `sprites`, for about so many images: fewer places and angles."""
    places = min(SIDE, max(2, round(math.sqrt(images / (3 * 6 * 20)))))
    return {"orientation": 20, "pos_x": places, "pos_y": places}


def encoded(model: VAE, images: Images, rows: Array, size: int = ENCODED) -> Array:
    """Posterior means of these rows, so many encoded at a time, [N, Z]."""
    among = torch.from_numpy(rows)
    with evaluating(model, images):
        found = [model.posterior(x).mean for x in images.batches(size, among=among)]
    return torch.cat(found).numpy()


def drawn(factors: Array, random: np.random.Generator) -> Iterator[tuple[int, Array]]:
    """For one vote after the other a factor, and the rows of images that share a value of it."""
    varying = np.flatnonzero(np.ptp(factors, axis=0)).tolist()
    holders = {k: [np.flatnonzero(factors[:, k] == value) for value in np.unique(factors[:, k])] for k in varying}
    while True:
        k = varying[random.integers(len(varying))]
        same = holders[k][random.integers(len(holders[k]))]
        yield k, random.choice(same, SIZE)


def looped(codes: Array, factors: Array, random: np.random.Generator) -> Array:
    """The counts of votes, [K, Z], one vote at a time."""
    variance, counts = codes.var(axis=0, ddof=1), np.zeros((factors.shape[1], codes.shape[1]), int)
    for _, (k, rows) in zip(range(VOTES), drawn(factors, random)):
        counts[k, np.argmin(codes[rows].var(axis=0, ddof=1) / variance)] += 1
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="where data sets lie")
    parser.add_argument("--images", type=int, default=100_000, help="about how many")
    parser.add_argument("--sample", type=int, default=200, help="votes that are timed of those that encode")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    splits = imagesets.load("sprites", arguments.data, **options(arguments.images))
    factors = np.concatenate([split.factors for split in splits])
    images = Images(Split(np.concatenate([np.asarray(split.images) for split in splits])))
    model = models.build("vae", images.image_shape, network="dsprites", hidden=128, latent=10)
    encoded(model, images, np.arange(ENCODED))  # warm
    votes, found, once, sampled = drawn(factors, np.random.default_rng(0)), [], 0.0, {SIZE: 0.0, ENCODED: 0.0}
    for piece in np.array_split(np.arange(len(images)), PIECES):  # in turns, so that all meet the same machine
        once += processor_seconds(lambda rows: found.append(encoded(model, images, rows)), piece)
        for size in sampled:
            for _, (_, rows) in zip(range(arguments.sample // PIECES), votes):
                sampled[size] += processor_seconds(encoded, model, images, rows, size)
    codes = np.concatenate(found)
    codes /= codes.std(axis=0)  # a model that is not trained uses none of its latents, which takes no time at all
    ours = processor_seconds(metrics.factor_vae, codes, factors, np.random.default_rng(0))
    loop = processor_seconds(looped, codes, factors, np.random.default_rng(0))
    print(f"{len(images):,} images, {VOTES:,} votes of {SIZE} images")
    print(f"end to end: {once + ours:.1f} s ({once:.1f} s of them encoding)")
    for size, seconds in sampled.items():
        by_vote = seconds * VOTES / (arguments.sample // PIECES * PIECES)
        times = by_vote / (once + ours)
        print(f"encoding for each vote, {size} images at a time: {by_vote:.0f} s, {times:.1f} times slower")
    print(f"stored codes: {ours:.3f} s, a loop over the votes {loop:.2f} s: {loop / ours:.0f} times faster")


if __name__ == "__main__":
    main()
