"""The VAE with a Householder flow, Tomczak & Welling (2016): a Gaussian whose axes are turned by reflections.

    z0 ~ N(mu(x), diag sigma(x)^2),   z = H_T ... H_1 z0,   H_t = I - 2 v_t v_t^T / |v_t|^2
    v_1 = A_1 h(x) + c_1,   v_t = A_t v_{t-1} + c_t

h(x) are the encoder's features. Reflections keep volumes, so that log q(z|x) = log N(z0; mu, diag sigma^2). The code of
Park, Kim & Kim (2019) multiplies matrices; here each reflection is applied to the vectors, and |v_t| may be 0.
"""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from models.base import VAE, Shared, assemble, merged
from models.distributions import Gaussian, Size
from models.domains import Count, Shape, Whole
from models.gaussian import GaussianPosterior, StandardPrior
from models.parts import PosteriorPart
from models.schedules import Step


class Reflected(Distribution):
    """A Gaussian behind reflections; the last axis is the event.

    Args:
        base: of z0, batch [...].
        normals: v_1 .. v_T, each [..., Z].
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, base: Gaussian, normals: list[Tensor]):
        self.base, self.normals = base, normals
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return _reflect(self.base.loc, self.normals)

    @property
    def mode(self) -> Tensor:
        return self.mean

    def rsample(self, sample_shape: Size = (), noise: Tensor | None = None) -> Tensor:
        """Reparameterised draws; arguments as for `Gaussian.rsample`, whose noise is z0's."""
        return _reflect(self.base.rsample(sample_shape, noise), self.normals)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density, nats: a reflection is its own inverse."""
        return self.base.log_prob(_reflect(value, self.normals[::-1]))


def _reflect(z: Tensor, normals: list[Tensor]) -> Tensor:
    for v in normals:
        smallest = torch.finfo(v.dtype).tiny  # for v = 0, which reflects nothing
        scale = 2 * (v * z).sum(-1, keepdim=True) / v.square().sum(-1, keepdim=True).clamp(min=smallest)
        z = z - scale * v
    return z


class HouseholderPosterior(PosteriorPart):
    """q(z|x): a Gaussian posterior and `flows` reflections, 0 of which leave it as it is."""

    name = "householder"

    def __init__(self, features: int, latent: int, *, flows: Whole = 4):
        super().__init__()
        self.amortised = GaussianPosterior(features, latent)
        self.normals = nn.ModuleList(nn.Linear(features if t == 0 else latent, latent) for t in range(flows))

    @classmethod
    def draw(cls, trial: Any) -> dict[str, Any]:
        return {"flows": trial.suggest_int("flows", 1, 8, log=True)}

    def forward(self, model: VAE, x: Tensor, step: Step | None = None) -> Reflected:
        h = model.features(x)
        vectors, v = [], h
        for layer in self.normals:
            v = layer(v)
            vectors.append(v)
        return Reflected(self.amortised.at(h), vectors)


PAPER: Shared = {"hidden": (500, 500), "likelihood": "gaussian", "init": "vlae"}
"""Of the settings that all models share, those that Park et al. (2019) have their own values of."""


def build(
    image_shape: Shape,
    *,
    latent: Count = 50,
    flows: Whole = 4,
    **shared: Unpack[Shared],
) -> VAE:
    """A VAE with a Householder flow for images of that shape.

    Args:
        image_shape: [C, H, W].
        latent: size of the code, Z.
        flows: T, how many reflections; 0 is the plain VAE.
        **shared: see `models.base.Shared`.
    """
    return assemble(
        image_shape,
        latent=latent,
        posterior=lambda features: HouseholderPosterior(features, latent, flows=flows),
        prior=StandardPrior(latent),
        **merged(PAPER, shared),
    )
