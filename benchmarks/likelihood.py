"""What an importance-weighted log-likelihood costs beside the products of matrices that it cannot do without.

    python -m benchmarks.likelihood
    python -m benchmarks.likelihood --images 100 --samples 1000

`vae` with a hidden layer of 400 and 50 latents, as it starts: training changes no cost. An image's draws are decoded at
once, so the products are those of S codes with the decoder's two layers, an image after the other, on one thread.
Likelihood and products take turns, some images each, and are timed by the processor's clock, which other work on the
machine disturbs less. What is claimed: the likelihood takes at most 1.6 times as long.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn.functional import linear

import imagesets
import models
from models.base import VAE
from study.trial.evaluation import importance_weighted
from study.trial.images import Images

LIMIT = 1.6
TURN = 20  # images


def likelihood(model: VAE, digits: Images, samples: int, images: int) -> None:
    importance_weighted(model, digits, samples, first=images)


@torch.no_grad()
def products(model: VAE, samples: int, images: int) -> None:
    """The decoder's layers alone, at as many codes as the likelihood decodes, with inputs that are there already."""
    layers = [layer for layer in model.decoder if isinstance(layer, nn.Linear)]
    inputs = [torch.rand(samples, layer.in_features) for layer in layers]
    for _ in range(images):
        for layer, x in zip(layers, inputs):
            linear(x, layer.weight, layer.bias)


def seconds(work: Callable[..., object], *given: object) -> float:
    began = time.process_time()
    work(*given)
    return time.process_time() - began


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=5000)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = models.build("vae", (1, 28, 28), hidden=400, latent=50)
    digits = Images(imagesets.load("mnist5k").test)
    taken, needed = 0.0, 0.0
    for done in range(0, given.images, TURN):
        turn = min(TURN, given.images - done)
        taken += seconds(likelihood, model, digits, given.samples, turn)
        needed += seconds(products, model, given.samples, turn)
    ratio = taken / needed
    print("images   S      likelihood s   products s   ratio")
    print(f"{given.images:6d}   {given.samples:5d}  {taken:12.1f}  {needed:11.1f}  {ratio:6.2f}")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
