"""The variational autoencoder of Kingma & Welling (ICLR 2014), with the KL weight of Higgins et al. (ICLR 2017).

p(z) = N(0, I),   q(z|x) = N(mu(x), diag sigma(x)^2),   loss = -log p(x|z) + beta KL(q(z|x) || p(z))
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.base import VAE, assemble
from models.distributions import Gaussian
from models.domains import Count, Fraction, Init, LikelihoodName, Margin, Network, Positive, Shape, Sigma, Widths
from models.schedules import Step, linear


class GaussianPosterior(nn.Module):
    """q(z|x) = N(mu(x), diag sigma(x)^2): two linear heads, mu and log sigma^2, on the encoder's features."""

    def __init__(self, features: int, latent: int):
        super().__init__()
        self.mu, self.log_var = nn.Linear(features, latent), nn.Linear(features, latent)

    def forward(self, model: VAE, x: Tensor, step: Step | None = None) -> Gaussian:
        h = model.features(x)
        return Gaussian(self.mu(h), (0.5 * self.log_var(h)).exp())


class StandardPrior(nn.Module):
    """p(z) = N(0, I)."""

    def __init__(self, latent: int):
        super().__init__()
        self.origin: Tensor
        self.register_buffer("origin", torch.zeros(latent), persistent=False)

    def forward(self, model: VAE) -> Gaussian:
        return Gaussian(self.origin, torch.ones_like(self.origin))


def build(
    image_shape: Shape,
    *,
    latent: Count = 20,
    beta: Positive = 1.0,
    kl_warmup: Fraction = 0.0,
    network: Network = "mlp",
    hidden: Widths = 500,
    decoder_hidden: Widths | None = None,
    likelihood: LikelihoodName = "bernoulli",
    sigma: Sigma = "learned",
    logit: Margin | None = None,
    init: Init = "torch",
    steps: Count = 20_000,
) -> VAE:
    """A VAE for images of that shape.

    Args:
        image_shape: [C, H, W].
        latent: size of the code, Z.
        beta: weight of the KL in the training loss.
        kl_warmup: share of the training over which that weight rises from 0.
        network: "mlp" or "conv".
        hidden: widths of the encoder's fully connected layers, input side first.
        decoder_hidden: those of the decoder, code side first; None mirrors the encoder.
        likelihood: "bernoulli", "gaussian" or "logistic".
        sigma: the Gaussian likelihood's standard deviation: a number, "learned" or "per_pixel".
        logit: l, where the Gaussian is one over logit(l + (1 - 2 l) x), see `models.likelihoods.LogitLikelihood`.
        init: how weights start, see `models.networks.initialise`.
        steps: length of the training that schedules are shares of, in optimiser steps.
    """
    return assemble(
        image_shape,
        latent=latent,
        posterior=lambda features: GaussianPosterior(features, latent),
        prior=StandardPrior(latent),
        network=network,
        hidden=hidden,
        decoder_hidden=decoder_hidden,
        likelihood=likelihood,
        sigma=sigma,
        logit=logit,
        init=init,
        beta=linear(0.0, beta, kl_warmup * steps),
    )
