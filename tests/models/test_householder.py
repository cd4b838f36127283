"""What is the Householder flow's own: reflections, and the density behind them."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.testing import assert_close

import models
from models.distributions import Gaussian
from models.householder import Reflected

pytestmark = pytest.mark.usefixtures("float64")

B, Z = 6, 5


def reflected(flows: int) -> Reflected:
    base = Gaussian(torch.randn(B, Z), torch.empty(B, Z).uniform_(0.3, 2.0))
    return Reflected(base, [torch.randn(B, Z) for _ in range(flows)])


def matrices(q: Reflected) -> Tensor:
    """H = H_T ... H_1, [B, Z, Z], multiplied out."""
    product = torch.eye(Z).expand(B, Z, Z)
    for v in q.normals:
        product = (torch.eye(Z) - 2 * v[..., :, None] * v[..., None, :] / (v**2).sum(-1)[..., None, None]) @ product
    return product


@pytest.mark.parametrize("flows", [0, 1, 2, 5])
def test_reflections_are_the_matrices_orthogonal_and_of_determinant_one(flows):
    q, noise = reflected(flows), torch.randn(4, B, Z)
    h = matrices(q)
    z0 = q.base.rsample(noise=noise)
    assert_close(q.rsample(noise=noise), (h @ z0[..., None])[..., 0], rtol=1e-12, atol=1e-12)
    # Ours, as a matrix: what becomes of the unit vectors behind a base without noise.
    ours = torch.stack(
        [Reflected(Gaussian(e.expand(B, Z), torch.ones(B, Z)), q.normals).mean for e in torch.eye(Z)], -1
    )
    assert_close(ours, h, rtol=1e-12, atol=1e-12)
    assert_close(ours @ ours.mT, torch.eye(Z).expand(B, Z, Z), rtol=0, atol=1e-12)
    assert_close(torch.linalg.det(ours), torch.full((B,), (-1.0) ** flows), rtol=0, atol=1e-12)


@pytest.mark.parametrize("flows", [0, 1, 2, 5])
def test_density_of_any_point_equals_torchs_normal_with_the_turned_covariance(flows):
    q = reflected(flows)
    h = matrices(q)
    mean = (h @ q.base.loc[..., None])[..., 0]
    normal = MultivariateNormal(mean, h @ torch.diag_embed(q.base.scale**2) @ h.mT)
    z = torch.randn(7, B, Z)
    assert_close(q.log_prob(z), normal.log_prob(z), rtol=1e-11, atol=1e-11)
    assert_close(q.mean, mean, rtol=1e-12, atol=1e-12)
    assert_close(q.mode, mean, rtol=1e-12, atol=1e-12)
    other = torch.randn(7, 1, Z)  # one point for all images, as in a mixture
    assert_close(q.log_prob(other), normal.log_prob(other), rtol=1e-11, atol=1e-11)


def test_draws_have_the_turned_covariance():
    n, q = 100_000, reflected(3)
    h = matrices(q)
    covariance = h @ torch.diag_embed(q.base.scale**2) @ h.mT
    centred = q.sample((n,)) - q.mean
    products = centred[..., :, None] * centred[..., None, :]
    assert ((products.mean(0) - covariance).abs() <= 4 * products.std(0) / math.sqrt(n)).all()


def test_a_normal_of_zero_reflects_nothing_and_has_finite_gradients():
    base = Gaussian(torch.randn(B, Z), torch.ones(B, Z))
    v = torch.zeros(B, Z, requires_grad=True)
    q = Reflected(base, [v])
    z = q.rsample(noise=torch.ones(B, Z))
    assert_close(z, base.loc + 1, rtol=0, atol=0)
    (gradient,) = torch.autograd.grad((z + q.log_prob(z.detach())[:, None]).sum(), v)
    assert torch.isfinite(gradient).all()


def test_the_length_of_a_normal_does_not_matter():
    q, z = reflected(2), torch.randn(B, Z)
    for length in (1e-4, 1e4):
        same = Reflected(q.base, [length * v for v in q.normals])
        assert_close(same.log_prob(z), q.log_prob(z), rtol=1e-10, atol=1e-10)


def test_each_normal_is_a_linear_function_of_the_one_before():
    model = models.build("householder", (1, 8, 8), latent=Z, hidden=7, flows=3)
    x = torch.rand(B, 1, 8, 8)
    h, layers = model.features(x), model.posterior_part.normals
    first, second, third = model.posterior(x).normals
    assert_close(first, h @ layers[0].weight.T + layers[0].bias)
    assert_close(second, first @ layers[1].weight.T + layers[1].bias)
    assert_close(third, second @ layers[2].weight.T + layers[2].bias)
