"""Validation and test metrics of a model: exact form, beta = 1, constants kept."""

from __future__ import annotations

import math
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


@torch.no_grad()
def evaluate(model: VAE, images: Images, seed: int = SEED) -> dict[str, float]:
    """Mean metrics over a set of images.

    Every image gets one draw from the exact posterior, with the same noise at each call: differences between two
    evaluations are then differences between models.

    Args:
        model: on the images' device; left in the mode it was in.
        images: of one split.
        seed: of the draws.

    Returns:
        `METRICS` by name; the ELBO and its halves in nats an image.
    """
    log_lik, kl, codes = [], [], []
    training = model.training
    model.eval()
    devices = [images.device] if images.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for x in images.batches(BATCH):
            elbo = model.elbo(x)
            log_lik.append(elbo.log_lik)
            kl.append(elbo.kl)
            codes.append(model.codes(x))
    model.train(training)
    mean_log_lik, mean_kl = (torch.cat(parts).double().mean().item() for parts in (log_lik, kl))
    return {"elbo": mean_log_lik - mean_kl, "log_lik": mean_log_lik, "kl": mean_kl, **_sparsity(torch.cat(codes))}


def _sparsity(codes: Tensor) -> dict[str, float]:
    z = codes.cpu().numpy()
    if not np.isfinite(z).all():
        return dict.fromkeys(("zero_fraction", "hoyer", "active_units"), math.nan)
    return {
        "zero_fraction": metrics.zero_fraction(z),
        "hoyer": metrics.hoyer(z) if z.shape[1] > 1 else math.nan,  # not defined for a single coordinate
        "active_units": float(metrics.active_units(z)),
    }


class Importance(NamedTuple):
    """Importance-weighted log-likelihoods of some images, and how far they can be believed."""

    log_likelihood: NDArray[np.float64]  # [B], nats
    effective_samples: NDArray[np.float64]  # [B], of the S draws


@torch.no_grad()
def importance_weighted(
    model: VAE, images: Images, samples: int, *, first: int | None = None, seed: int = SEED
) -> Importance:
    """The bound of Burda et al. (2016) for each image, with S draws from the model's proposal.

    Args:
        model: on the images' device.
        images: of one split.
        samples: S.
        first: how many of the images, from the first on; None is all.
        seed: of the draws.
    """
    parts = []
    devices = [images.device] if images.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for x in images.batches(100, first):
            parts.append(model.log_weights(x, samples).double().cpu().numpy())
    log_weights = np.concatenate(parts, axis=1)
    return Importance(metrics.log_likelihood(log_weights), metrics.effective_sample_size(log_weights))


@torch.no_grad()
def probe_accuracy(model: VAE, train: Images, test: Images, examples: int = 5000) -> float:
    """Share of test labels that a logistic regression on codes, trained to convergence, gets right.

    Args:
        model: on the images' device.
        train: its first `examples` images train the regression.
        test: labelled, too.
        examples: how many.

    Returns:
        A share in [0, 1]; NaN where the data has no labels.
    """
    if train.labels is None or test.labels is None:
        return math.nan
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def codes(images: Images, first: int | None = None) -> NDArray[np.float32]:
        return torch.cat([model.codes(x).cpu() for x in images.batches(BATCH, first)]).numpy()

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    probe.fit(codes(train, examples), train.labels[:examples])
    return float(probe.score(codes(test), test.labels))
