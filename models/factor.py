"""FactorVAE, Kim & Mnih (ICML 2018).

    loss = -log p(x|z) + KL(q(z|x) || p(z)) + gamma TC,   TC = KL(q(z) || prod_j q(z_j)) ~ mean of log D(z) / (1 - D(z))

q(z) is the aggregated posterior. A discriminator D tells its draws from draws of the product of its marginals, which
are those of a second batch with each latent shuffled over the batch by itself (Algorithm 2). Here D has two outputs, of
which the first says "from q(z)", so that the log-ratio is their difference.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from models.base import VAE, Shared, Update, assemble
from models.distributions import closed_kl
from models.domains import Count, NotNegative, Shape, Widths, widths
from models.gaussian import GaussianPosterior, StandardPrior
from models.measures import Look, Measure
from models.parts import Part
from models.schedules import Step

SLOPE = 0.2  # of the leaky ReLUs: as in pythae; the code of Barrientos & Sootla has torch's 0.01

ACCURACY = Measure("discriminator_accuracy", "accuracy of the discriminator", "share", "less", "share")
TOTAL_CORRELATION = Measure("total_correlation", "total correlation, by the discriminator", "nats", "less", "estimate")


class Discriminator(Part):
    """D: codes [B, Z] to two logits [B, 2], of "from q(z)" and of "from the product of its marginals".

    Args:
        latent: Z.
        hidden: widths of the hidden layers.
    """

    optimiser = "discriminator"
    adam = MappingProxyType({"lr": 1e-4, "betas": (0.5, 0.9)})  # disentanglement_lib, shared.gin

    def __init__(self, latent: int, hidden: Widths):
        super().__init__()
        sizes = (latent, *widths(hidden))
        layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.LeakyReLU(SLOPE))]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], 2))

    def forward(self, z: Tensor) -> Tensor:
        logits: Tensor = self.layers(z)
        return logits

    def log_ratio(self, z: Tensor) -> Tensor:
        """The estimate of log q(z) - sum_j log q(z_j), [B], in nats."""
        joint, product = self(z).unbind(-1)
        return joint - product


def permuted(z: Tensor) -> Tensor:
    """Codes [B, Z] with each latent shuffled over the batch by itself, Algorithm 1."""
    return z.gather(0, torch.rand_like(z).argsort(dim=0))


class FactorVAE(VAE):
    """A VAE with a discriminator, which estimates the total correlation of its codes.

    A step takes two independent batches: the first is the VAE's and the discriminator's "from q(z)", the second is
    shuffled.

    Args:
        *parts: see `VAE`.
        discriminator: D.
        gamma: weight of the total correlation.
    """

    batches = 2

    def __init__(self, *parts: Any, discriminator: Discriminator, gamma: float, **more: Any):
        super().__init__(*parts, **more)
        self.discriminator, self.gamma = discriminator, gamma

    def parts(self) -> list[Part]:
        return [*super().parts(), self.discriminator]

    def loss(self, x: Tensor, step: Step) -> Tensor:
        """beta(step) KL - log p(x|z) + gamma TC, the mean over the first batch, in nats."""
        first, _ = x.chunk(2)
        q, p = self.posterior(first, step), self.prior()
        z, kl = q.rsample(), closed_kl(q, p)
        assert kl is not None
        log_lik = self.likelihood(z).log_prob(first)
        elbo = (self.beta(step, self.budget) * kl - log_lik).mean()
        return elbo + self.gamma * self.discriminator.log_ratio(z).mean() if self.gamma > 0 else elbo

    def discriminator_loss(self, x: Tensor, step: Step) -> Tensor:
        """The cross-entropy of telling draws from shuffled draws, in nats; log 2 where there is nothing to tell."""
        with torch.no_grad():
            z, other = self.posterior(x, step).rsample().chunk(2)
        return _cross_entropy(self.discriminator, z, permuted(other))

    def updates(self) -> list[Update]:
        return [
            Update("model", "elbo and total correlation", self.loss),
            Update("discriminator", "density ratio", self.discriminator_loss),
        ]

    def measures(self) -> dict[Measure, Callable[[Tensor, Look], Tensor]]:
        """The total correlation, and how often the discriminator is right, of draws and of shuffled draws."""

        def accuracy(x: Tensor, look: Look) -> Tensor:
            z = look.posterior.sample()
            right = self.discriminator.log_ratio(z) > 0, self.discriminator.log_ratio(permuted(z)) <= 0
            return torch.stack(right).double().mean(0)

        def total_correlation(x: Tensor, look: Look) -> Tensor:
            return self.discriminator.log_ratio(look.posterior.sample())

        return {ACCURACY: accuracy, TOTAL_CORRELATION: total_correlation}


def _cross_entropy(discriminator: Discriminator, z: Tensor, shuffled: Tensor) -> Tensor:
    logits = discriminator(torch.cat([z, shuffled]))
    product = torch.arange(len(logits), device=z.device) >= len(z)
    return cross_entropy(logits, product.long())


def build(
    image_shape: Shape,
    *,
    latent: Count = 10,
    gamma: NotNegative = 10.0,
    discriminator_hidden: Widths = (1000, 1000, 1000, 1000, 1000),
    **shared: Unpack[Shared],
) -> VAE:
    """A FactorVAE for images of that shape.

    Args:
        image_shape: [C, H, W].
        latent: size of the code, Z.
        gamma: weight of the total correlation; 0 is the plain VAE, with a discriminator that looks on.
        discriminator_hidden: widths of the discriminator's hidden layers.
        **shared: see `models.base.Shared`.
    """

    def kind(*parts: Any, **more: Any) -> FactorVAE:
        return FactorVAE(*parts, discriminator=Discriminator(latent, discriminator_hidden), gamma=gamma, **more)

    return assemble(
        image_shape,
        latent=latent,
        posterior=lambda features: GaussianPosterior(features, latent),
        prior=StandardPrior(latent),
        kind=kind,
        **shared,
    )
