"""Losses that FactorVAE and the Non-Synergistic VAE are compared with: one more term beside the ELBO each.

    total_correlation   (beta_tc - 1) TC,  TC = E[log q(z) - sum_j log q(z_j)]       Chen et al. (2018), beta-TCVAE
    dip_i, dip_ii       l sum_{i != j} C_ij^2 + l_d sum_i (C_ii - 1)^2               Kumar et al. (2018), DIP-VAE
    capacity            gamma |KL - C(t)|, in the place of the KL                    Burgess et al. (2018), AnnealedVAE

q(z) is estimated from the batch: its mixture of posteriors, without the size of the data set, which shifts the value
and leaves the gradient as it is (disentanglement_lib does the same). In dip_i C is the covariance of the posteriors'
means and l_d = 10 l; in dip_ii their mean variances are added to its diagonal and l_d = l. beta-VAE is `vae`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Literal, Unpack

import torch
from pydantic import Field
from torch import Tensor

from models.base import VAE, Shared, assemble
from models.distributions import Gaussian, closed_kl
from models.domains import Count, Fraction, NotNegative, Shape
from models.gaussian import GaussianPosterior, StandardPrior
from models.schedules import Step, linear

Penalty = Literal["total_correlation", "dip_i", "dip_ii", "capacity"]
AtLeastOne = Annotated[float, Field(ge=1, allow_inf_nan=False)]

READS = {
    "total_correlation": {"beta_tc"},
    "dip_i": {"off_diagonal"},
    "dip_ii": {"off_diagonal"},
    "capacity": {"capacity", "capacity_ramp", "capacity_weight"},
}
"""The settings that each penalty reads; the others do nothing beside it."""


def total_correlation(q: Gaussian, z: Tensor) -> Tensor:
    """Minibatch estimate of TC at draws z [B, Z] of q, one number, in nats, but for a constant."""
    log_q_BNZ = Gaussian(q.loc[None], q.scale[None]).base_dist.log_prob(z[:, None])
    log_n = math.log(len(z))
    joint = log_q_BNZ.sum(-1).logsumexp(1) - log_n
    product = (log_q_BNZ.logsumexp(1) - log_n).sum(-1)
    return (joint - product).mean()


def distance_from_identity(q: Gaussian, off_diagonal: float, diagonal: float, *, whole: bool) -> Tensor:
    """The weighed squares of C - I, one number.

    Args:
        q: the posteriors of a batch.
        off_diagonal: weight of the squares off the diagonal.
        diagonal: that of those on it.
        whole: C is the covariance of draws, not of their means alone.
    """
    centred = q.loc - q.loc.mean(0)
    covariance = centred.T @ centred / len(centred)
    if whole:
        covariance = covariance + torch.diag(q.scale.square().mean(0))
    on = (covariance.diagonal() - 1).square().sum()
    off = covariance.square().sum() - covariance.diagonal().square().sum()
    return off_diagonal * off + diagonal * on


class PenalisedVAE(VAE):
    """A VAE with a term beside the ELBO.

    Args:
        *parts: see `VAE`.
        penalty: the term, from q and its draws [B, Z]; None: the KL's distance to C(t) takes the KL's place.
        capacity: the largest C, the share of the training over which it rises from 0, and the distance's weight.
    """

    def __init__(
        self,
        *parts: Any,
        penalty: Callable[[Gaussian, Tensor], Tensor] | None,
        capacity: tuple[float, float, float],
        **more: Any,
    ):
        super().__init__(*parts, **more)
        self.penalty = penalty
        largest, ramp, self.capacity_weight = capacity
        self.capacity = linear(0.0, largest, ramp if penalty is None else 0.0)  # which no other loss reads

    def loss(self, x: Tensor, step: Step) -> Tensor:
        """The mean over the batch of -log p(x|z), of beta(step) KL or its distance to C(t), and of the penalty."""
        q, p = self.posterior(x, step), self.prior()
        assert isinstance(q, Gaussian)
        z, kl = q.rsample(), closed_kl(q, p)
        assert kl is not None
        log_lik = self.likelihood(z).log_prob(x)
        if self.penalty is None:
            distance = (kl - self.capacity(step, self.budget)).mean().abs()
            return self.capacity_weight * distance - log_lik.mean()
        return (self.beta(step, self.budget) * kl - log_lik).mean() + self.penalty(q, z)


def idle(given: Mapping[str, Any]) -> set[str]:
    """Of these settings, those that the penalty does not read."""
    other = {"beta", "kl_warmup"} if given["penalty"] == "capacity" else set()
    return set[str]().union(*READS.values()) - READS[given["penalty"]] | other


def build(
    image_shape: Shape,
    *,
    latent: Count = 10,
    penalty: Penalty = "total_correlation",
    beta_tc: AtLeastOne = 6.0,
    off_diagonal: NotNegative = 10.0,
    capacity: NotNegative = 25.0,
    capacity_ramp: Fraction = 0.33,
    capacity_weight: NotNegative = 1000.0,
    **shared: Unpack[Shared],
) -> VAE:
    """A VAE with one of the penalties for images of that shape.

    Args:
        image_shape: [C, H, W].
        latent: size of the code, Z.
        penalty: "total_correlation" (beta-TCVAE), "dip_i", "dip_ii" or "capacity" (AnnealedVAE).
        beta_tc: of total_correlation; 1 is the plain VAE.
        off_diagonal: l of dip_i and dip_ii; 0 is the plain VAE.
        capacity: of capacity, C at the end of its ramp, in nats.
        capacity_ramp: of capacity, the share of the training over which C rises from 0.
        capacity_weight: of capacity, gamma.
        **shared: see `models.base.Shared`.
    """
    penalties: dict[str, Callable[[Gaussian, Tensor], Tensor]] = {
        "total_correlation": lambda q, z: (beta_tc - 1) * total_correlation(q, z),
        "dip_i": lambda q, z: distance_from_identity(q, off_diagonal, 10 * off_diagonal, whole=False),
        "dip_ii": lambda q, z: distance_from_identity(q, off_diagonal, off_diagonal, whole=True),
    }
    annealing = (capacity, capacity_ramp, capacity_weight)
    return assemble(
        image_shape,
        latent=latent,
        posterior=lambda features: GaussianPosterior(features, latent),
        prior=StandardPrior(latent),
        kind=partial(PenalisedVAE, penalty=penalties.get(penalty), capacity=annealing),
        **shared,
    )
