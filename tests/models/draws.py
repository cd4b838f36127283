"""Distributions with parameters at random, which the tests of distributions share."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from models.distributions import Gaussian, PrecisionGaussian, SpikeSlab, closed_kl
from models.householder import Reflected

B, Z = 6, 5


def gaussian(*batch: int) -> Gaussian:
    return Gaussian(torch.randn(*batch, Z), torch.empty(*batch, Z).uniform_(0.5, 1.5))


def spike_slab(*batch: int) -> SpikeSlab:
    loc, scale = torch.randn(*batch, Z), torch.empty(*batch, Z).uniform_(0.5, 1.5)
    return SpikeSlab(loc, scale, torch.empty(*batch, Z).uniform_(0.02, 0.98))


def precision_gaussian(*batch: int) -> PrecisionGaussian:
    factor = (0.4 * torch.randn(*batch, Z, Z)).tril(-1) + torch.diag_embed(torch.empty(*batch, Z).uniform_(0.7, 2.0))
    return PrecisionGaussian(torch.randn(*batch, Z), factor)


def sparse_prior(alpha: float) -> SpikeSlab:
    return SpikeSlab(torch.zeros(Z), torch.ones(Z), torch.full((Z,), alpha))


def standard_normal() -> Gaussian:
    return Gaussian(torch.zeros(Z), torch.ones(Z))


def kl(q: Distribution, p: Distribution) -> Tensor:
    divergence = closed_kl(q, p)
    assert divergence is not None
    return divergence


def reflected(*batch: int) -> Reflected:
    return Reflected(gaussian(*batch), [torch.randn(*batch, Z)])
