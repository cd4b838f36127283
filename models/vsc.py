"""Variational Sparse Coding: Tonolini, Jensen & Murray-Smith (UAI 2019), with the fixed prior of its first version.

    p(z_j)   = alpha N(0, 1) + (1 - alpha) delta(z_j)
    q(z_j|x) = gamma_j(x) N(mu_j(x), sigma_j(x)^2) + (1 - gamma_j(x)) delta(z_j)

In the paper's training the gate is relaxed, z_j = sigmoid(c (eta - 1 + gamma_j)) (mu_j + sigma_j eps), with a steepness
c that grows with the step. Evaluation uses hard gates, whose ELBO is a bound; the relaxed value is none.

Departures, because exact numbers on MNIST are better with them (docs/results.md): gamma is a sigmoid, where the paper
has exp(-relu(-v)), which is 1 without a gradient for v >= 0; the gate is hard in training too, the relaxed one lending
its gradient; the KL is warmed up. The paper's own form is gamma_param="neg_relu", gate="sigmoid", steepness 50 to
steepness_final 200, kl_warmup 0.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from models.base import VAE, PosteriorPart, assemble
from models.distributions import SpikeSlab
from models.domains import (
    Count,
    Fraction,
    Init,
    LikelihoodName,
    Margin,
    Network,
    Positive,
    Probability,
    Shape,
    Sigma,
    Widths,
)
from models.schedules import Schedule, Step, linear

GammaParam = Literal["sigmoid", "neg_relu"]
Gate = Literal["sigmoid", "concrete", "straight_through"]

NEG_RELU_MARGIN = 1e-6  # the replication's clip of gamma in the KL


class SpikeSlabPosterior(PosteriorPart):
    """q(z|x): three linear heads, mu, log sigma^2 and v, on the encoder's features.

    Args:
        features: of the encoder, F.
        latent: Z.
        gamma_param: "sigmoid": gamma = sigmoid(v). "neg_relu": gamma = exp(-relu(-v)), the paper's, which is 1 without
            a gradient wherever v >= 0.
        gamma_init: gamma at v's initial bias; None leaves that bias to the layer's own initialisation.
        steepness: c of the relaxed gate, as a function of the step.
        gate: how the gate is relaxed, see `SpikeSlab`.
    """

    def __init__(
        self,
        features: int,
        latent: int,
        *,
        gamma_param: GammaParam = "sigmoid",
        gamma_init: float | None = 0.5,
        steepness: Schedule = lambda step: 10.0,
        gate: Gate = "straight_through",
    ):
        super().__init__()
        self.mu, self.log_var, self.v = (nn.Linear(features, latent) for _ in range(3))
        self.gamma_param, self.gamma_init = gamma_param, gamma_init
        self.steepness, self.gate = steepness, gate

    @torch.no_grad()
    def start(self) -> None:
        """Sets v's bias so that gamma starts around `gamma_init`."""
        if self.gamma_init is not None:
            odds = self.gamma_init / (1 - self.gamma_init)
            self.v.bias.fill_(math.log(odds if self.gamma_param == "sigmoid" else self.gamma_init))

    def forward(self, model: VAE, x: Tensor, step: Step | None = None) -> SpikeSlab:
        h = model.features(x)
        mu, sigma, v = self.mu(h), (0.5 * self.log_var(h)).exp(), self.v(h)
        c = None if step is None else self.steepness(step)
        if self.gamma_param == "sigmoid":
            return SpikeSlab(mu, sigma, logits=v, steepness=c, relaxation=self.gate, validate_args=False)
        gamma, margin = (-torch.relu(-v)).exp(), NEG_RELU_MARGIN
        return SpikeSlab(mu, sigma, gamma, margin=margin, steepness=c, relaxation=self.gate, validate_args=False)


class SpikeSlabPrior(nn.Module):
    """p(z): a standard normal slab with probability alpha."""

    def __init__(self, latent: int, alpha: float):
        super().__init__()
        self.origin: Tensor
        self.register_buffer("origin", torch.zeros(latent), persistent=False)
        self.logit = math.log(alpha / (1 - alpha))  # a number: a buffer would round it before a cast to float64

    def forward(self, model: VAE) -> SpikeSlab:
        logits = torch.full_like(self.origin, self.logit)
        return SpikeSlab(self.origin, torch.ones_like(self.origin), logits=logits, validate_args=False)


def build(
    image_shape: Shape,
    *,
    latent: Count = 200,
    alpha: Probability = 0.01,
    beta: Positive = 1.0,
    kl_warmup: Fraction = 0.2,
    gamma_param: GammaParam = "sigmoid",
    gamma_init: Probability | None = 0.5,
    gate: Gate = "straight_through",
    steepness: Positive = 10.0,
    steepness_final: Positive = 10.0,
    steepness_ramp: Fraction = 1.0,
    network: Network = "mlp",
    hidden: Widths = 400,
    decoder_hidden: Widths | None = None,
    likelihood: LikelihoodName = "bernoulli",
    sigma: Sigma = "learned",
    logit: Margin | None = None,
    init: Init = "torch",
    steps: Count = 20_000,
) -> VAE:
    """A variational sparse coder for images of that shape.

    Args:
        image_shape: [C, H, W].
        latent: size of the code, Z.
        alpha: the prior's share of non-zero coordinates.
        beta: weight of the KL in the training loss.
        kl_warmup: share of the training over which that weight rises from 0.
        gamma_param: how gamma follows from the network, see `SpikeSlabPosterior`.
        gamma_init: gamma at the start; None leaves it to the layer's initialisation.
        gate: how the gate is relaxed in training, see `SpikeSlab`.
        steepness: c of the relaxed gate at the first step.
        steepness_final: c after the ramp.
        steepness_ramp: share of the training over which c grows.
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
        posterior=lambda features: SpikeSlabPosterior(
            features,
            latent,
            gamma_param=gamma_param,
            gamma_init=gamma_init,
            steepness=linear(steepness, steepness_final, steepness_ramp * steps),
            gate=gate,
        ),
        prior=SpikeSlabPrior(latent, alpha),
        network=network,
        hidden=hidden,
        decoder_hidden=decoder_hidden,
        likelihood=likelihood,
        sigma=sigma,
        logit=logit,
        init=init,
        beta=linear(0.0, beta, kl_warmup * steps),
    )
