"""The Gaussian posterior and the standard normal prior, which most models start from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.base import VAE
from models.distributions import Gaussian
from models.parts import PosteriorPart, PriorPart
from models.schedules import Step


class GaussianPosterior(PosteriorPart):
    """q(z|x) = N(mu(x), diag sigma(x)^2): two linear heads, mu and log sigma^2, on the encoder's features."""

    name = "gaussian"

    def __init__(self, features: int, latent: int):
        super().__init__()
        self.mu, self.log_var = nn.Linear(features, latent), nn.Linear(features, latent)

    def forward(self, model: VAE, x: Tensor, step: Step | None = None) -> Gaussian:
        return self.at(model.features(x))

    def at(self, h: Tensor) -> Gaussian:
        """q, given the encoder's features, [B, F]."""
        return Gaussian(self.mu(h), (0.5 * self.log_var(h)).exp())


class StandardPrior(PriorPart):
    """p(z) = N(0, I)."""

    name = "standard"

    def __init__(self, latent: int):
        super().__init__()
        self.origin: Tensor
        self.register_buffer("origin", torch.zeros(latent), persistent=False)

    def forward(self, model: VAE) -> Gaussian:
        return Gaussian(self.origin, torch.ones_like(self.origin))
