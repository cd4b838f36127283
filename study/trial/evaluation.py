"""Validation and test measures of a model: exact form, beta = 1, constants kept."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import metrics
from models.base import VAE
from study.trial.images import Images

SEED = 0
BATCH = 500


@contextmanager
def evaluating(model: VAE, images: Images, seed: int = SEED) -> Iterator[None]:
    """Evaluation mode and a random stream of its own, no gradients; afterwards everything is as before."""
    training = model.training
    model.eval()
    devices = [images.device] if images.device.type == "cuda" else []
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            yield
    finally:
        model.train(training)


def evaluate(
    model: VAE,
    images: Images,
    seed: int = SEED,
    count: int | None = None,
    *,
    test: bool = False,
    asked: Collection[str] = (),
    samples: int = 500,
) -> dict[str, float]:
    """Mean measures over a set of images; the model is looked at once a batch.

    Every image gets one draw from the exact posterior, with the same noise at each call: differences between two
    evaluations are then differences between models.

    Args:
        model: on the images' device; left in the mode it was in.
        images: of one split.
        seed: of the draws, and of the choice of images.
        count: of how many images, where not of all; always the same ones.
        test: take the model's own measures that are for `confirm`, too.
        asked: what is taken beside the measures of each report.
        samples: draws an image of what is importance-weighted, where that is asked.

    Returns:
        `study.spec.measures.METRICS` by name, and the model's own; the ELBO and its halves in nats an image. There is
        no ELBO where the posterior has no density.
    """
    reconstruction, kl, codes, means = [], [], [], []
    measures = {each: take for each, take in model.measures().items() if test or each.when == "report"}
    own: dict[str, list[Tensor]] = {measure.name: [] for measure in measures}
    rows = None if count is None else _some(len(images), count, seed)
    with evaluating(model, images, seed):
        for x in images.batches(BATCH, among=rows):
            look = model.look(x)
            reconstruction.append(look.elbo.log_lik)
            kl.append(look.elbo.kl)
            codes.append(look.codes)
            means.append(model.posterior_part.means(look.posterior))
            for measure, take in measures.items():
                own[measure.name].append(take(x, look))
    halves, z = {"reconstruction": _mean(reconstruction), "kl": _mean(kl)}, torch.cat(codes).cpu().numpy()
    return {
        **({} if model.posterior_part.density == "none" else {"elbo": halves["reconstruction"] - halves["kl"]}),
        **halves,
        "zero_fraction": metrics.zero_fraction(z),
        "hoyer": metrics.hoyer(z),
        "active_units": float(metrics.active_units(torch.cat(means).cpu().numpy())),
        **(_weighted(model, images, samples, rows, seed) if "log_likelihood" in asked else {}),
        **{key: _mean(parts) for key, parts in own.items()},
    }


def _weighted(model: VAE, images: Images, samples: int, rows: Tensor | None, seed: int) -> dict[str, float]:
    found = importance_weighted(model, images, samples, among=rows, seed=seed)
    return {
        "log_likelihood": float(found.log_likelihood.mean()),
        "effective_samples": float(found.effective_samples.mean()),
    }


def _some(n: int, count: int, seed: int) -> Tensor:
    """Some of n images in ascending order, or all of them."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:count].sort().values


def _mean(parts: list[Tensor]) -> float:
    return torch.cat(parts).double().mean().item()


class Importance(NamedTuple):
    """Importance-weighted log-likelihoods of some images, and how far they can be believed."""

    log_likelihood: NDArray[np.float64]  # [B], nats
    effective_samples: NDArray[np.float64]  # [B], of the S draws


def importance_weighted(
    model: VAE,
    images: Images,
    samples: int,
    *,
    first: int | None = None,
    among: Tensor | None = None,
    seed: int = SEED,
) -> Importance:
    """The bound of Burda et al. (2016) for each image, with S draws from the model's proposal.

    Args:
        model: on the images' device.
        images: of one split.
        samples: S.
        first: how many of the images, from the first on; None is all.
        among: only those of these numbers, [N].
        seed: of the draws.
    """
    parts = []
    with evaluating(model, images, seed):
        for x in images.batches(100, first, among):
            log_weights = model.log_weights(x, samples).double().cpu().numpy()
            parts.append((metrics.log_likelihood(log_weights), metrics.effective_sample_size(log_weights)))
    return Importance(*map(np.concatenate, zip(*parts)))


def probe_accuracy(model: VAE, train: Images, test: Images, examples: int = 5000) -> float:
    """Share of test labels that a logistic regression on codes, trained to convergence, gets right.

    Args:
        model: on the images' device.
        train: its first `examples` images train the regression.
        test: labelled, too.
        examples: how many.

    Returns:
        A share in [0, 1]; NaN where the data has no labels, or those of the `examples` are all the same.
    """
    if train.labels is None or test.labels is None or len(np.unique(train.labels[:examples])) < 2:
        return math.nan
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def codes(images: Images, first: int | None = None) -> NDArray[np.float32]:
        with evaluating(model, images):
            return torch.cat([model.codes(x).cpu() for x in images.batches(BATCH, first)]).numpy()

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    probe.fit(codes(train, examples), train.labels[:examples])
    return float(probe.score(codes(test), test.labels))
