"""Validation and test metrics of a model: exact form, beta = 1, constants kept."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

import metrics
from models.base import VAE

METRICS = ("elbo", "log_lik", "kl", "zero_fraction", "hoyer", "active_units")
"""What a trial reports, and so what an objective may be. Per image and in nats: the first three."""

SEED = 0
BATCH = 500


@torch.no_grad()
def evaluate(model: VAE, images: Tensor, seed: int = SEED) -> dict[str, float]:
    """Mean metrics over a set of images.

    Every image gets one draw from the exact posterior, with the same noise at each call: differences between two
    evaluations are then differences between models.

    Args:
        model: on the images' device; left in the mode it was in.
        images: uint8, [N, C, H, W].
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
        for batch in images.split(BATCH):
            x = unit_interval(batch)
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


def unit_interval(images: Tensor) -> Tensor:
    """uint8 pixels as floats in [0, 1], same shape."""
    return images.float().div_(255)


def is_binary(images: Tensor) -> bool:
    """Whether every pixel is black or white, 0 or 255."""
    return bool(((images == 0) | (images == 255)).all())
