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
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn

from models.base import VAE, Shared, assemble, merged
from models.distributions import SpikeSlab
from models.domains import Count, Fraction, Init, Positive, Probability, Shape
from models.parts import PosteriorPart, PriorPart
from models.pathologies import Symptom
from models.schedules import Step, linear

GammaParam = Literal["sigmoid", "neg_relu"]
Gate = Literal["sigmoid", "concrete", "straight_through"]

NEG_RELU_MARGIN = 1e-6  # the replication's clip of gamma in the KL
MOST_ZEROS = 1 - 1e-4  # of codes: beyond, no gate is open; where one is for every image, 200 latents have 1 - 5e-3


class SpikeSlabPosterior(PosteriorPart):
    """q(z|x): three linear heads, mu, log sigma^2 and v, on the encoder's features.

    Args:
        features: of the encoder, F.
        latent: Z.
        gamma_param: "sigmoid": gamma = sigmoid(v). "neg_relu": gamma = exp(-relu(-v)), the paper's, which is 1 without
            a gradient wherever v >= 0.
        gamma_init: gamma at v's initial bias; None leaves that bias to the layer's own initialisation.
        gate: how the gate is relaxed in training, see `SpikeSlab`.
        steepness: c of the relaxed gate at the first step.
        steepness_final: c after the ramp.
        steepness_ramp: share of the training over which c grows.
    """

    name = "spike_slab"
    point_masses = True
    codes_are = "the slab's mean where the slab is at least as likely as the spike, else exactly 0"

    def __init__(
        self,
        features: int,
        latent: int,
        *,
        gamma_param: GammaParam = "sigmoid",
        gamma_init: Probability | None = 0.5,
        gate: Gate = "straight_through",
        steepness: Positive = 10.0,
        steepness_final: Positive = 10.0,
        steepness_ramp: Fraction = 1.0,
    ):
        super().__init__()
        self.mu, self.log_var, self.v = (nn.Linear(features, latent) for _ in range(3))
        self.gamma_param, self.gamma_init = gamma_param, gamma_init
        self.steepness, self.gate = linear(steepness, steepness_final, steepness_ramp), gate

    @torch.no_grad()
    def start(self, init: Init) -> None:
        """Sets v's bias so that gamma starts around `gamma_init`."""
        super().start(init)
        if self.gamma_init is not None:
            odds = self.gamma_init / (1 - self.gamma_init)
            self.v.bias.fill_(math.log(odds if self.gamma_param == "sigmoid" else self.gamma_init))

    def symptoms(self) -> list[Symptom]:
        return [Symptom("dead", "zero_fraction", MOST_ZEROS, 1.0)]

    def forward(self, model: VAE, x: Tensor, step: Step | None = None) -> SpikeSlab:
        h = model.features(x)
        mu, sigma, v = self.mu(h), (0.5 * self.log_var(h)).exp(), self.v(h)
        c = None if step is None else self.steepness(step, model.budget)
        if self.gamma_param == "sigmoid":
            return SpikeSlab(mu, sigma, logits=v, steepness=c, relaxation=self.gate, validate_args=False)
        gamma, margin = (-torch.relu(-v)).exp(), NEG_RELU_MARGIN
        return SpikeSlab(mu, sigma, gamma, margin=margin, steepness=c, relaxation=self.gate, validate_args=False)


class SpikeSlabPrior(PriorPart):
    """p(z): a standard normal slab with probability alpha."""

    name = "spike_slab"
    point_masses = True

    def __init__(self, latent: int, *, alpha: Probability = 0.2):
        super().__init__()
        self.non_zero_share = alpha
        self.origin: Tensor
        self.register_buffer("origin", torch.zeros(latent), persistent=False)
        self.logit = math.log(alpha / (1 - alpha))  # a number: a buffer would round it before a cast to float64

    def forward(self, model: VAE) -> SpikeSlab:
        logits = torch.full_like(self.origin, self.logit)
        return SpikeSlab(self.origin, torch.ones_like(self.origin), logits=logits, validate_args=False)


PAPER: Shared = {"hidden": 400, "kl_warmup": 0.2}
"""Of the settings that all models share, those that have their own values here: the width is the paper's."""


def build(
    image_shape: Shape,
    *,
    latent: Count = 200,
    alpha: Probability = 0.01,
    gamma_param: GammaParam = "sigmoid",
    gamma_init: Probability | None = 0.5,
    gate: Gate = "straight_through",
    steepness: Positive = 10.0,
    steepness_final: Positive = 10.0,
    steepness_ramp: Fraction = 1.0,
    **shared: Unpack[Shared],
) -> VAE:
    """A variational sparse coder for images of that shape, [C, H, W], with codes of the size `latent`.

    `alpha` is the prior's share of non-zero coordinates; for the rest see `SpikeSlabPosterior`, `models.base.Shared`.
    """
    gamma: Any = {"gamma_param": gamma_param, "gamma_init": gamma_init}
    ramp: Any = {"steepness": steepness, "steepness_final": steepness_final, "steepness_ramp": steepness_ramp}
    return assemble(
        image_shape,
        latent=latent,
        posterior=lambda features: SpikeSlabPosterior(features, latent, gate=gate, **gamma, **ramp),
        prior=SpikeSlabPrior(latent, alpha=alpha),
        **merged(PAPER, shared),
    )
