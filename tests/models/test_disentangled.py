"""What is each penalty's own: its value against brute force, and where it is nothing."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import models
from models.disentangled import distance_from_identity, total_correlation
from models.distributions import Gaussian

SHAPE = (1, 8, 8)
B, Z = 12, 4


def build(name: str = "disentangled", **settings):
    torch.manual_seed(0)
    model = models.build(name, SHAPE, **{"latent": Z, "hidden": 16, **settings}).double()
    model.budget = 100
    return model


def posteriors(n: int = B) -> Gaussian:
    return Gaussian(torch.randn(n, Z).double(), torch.empty(n, Z).uniform_(0.2, 1.5).double())


@pytest.fixture
def x(blobs) -> Tensor:
    return blobs(B).double()


def seeded(model, x: Tensor, step: int = 0) -> Tensor:
    torch.manual_seed(3)
    return model.loss(x, step)


@pytest.mark.parametrize(
    "neutral",
    [
        {"penalty": "total_correlation", "beta_tc": 1.0},
        {"penalty": "dip_i", "off_diagonal": 0.0},
        {"penalty": "dip_ii", "off_diagonal": 0.0},
    ],
    ids=str,
)
def test_without_a_weight_it_is_the_vae(neutral, x):
    model, plain = build(**neutral), build("vae")
    plain.load_state_dict(model.state_dict())
    ours, theirs = seeded(model, x), seeded(plain, x)
    assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    gradients = (torch.autograd.grad(loss, m.parameters()) for loss, m in ((ours, model), (theirs, plain)))
    for a, b in zip(*gradients):
        assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_the_total_correlation_is_that_of_the_batchs_mixture():
    q = posteriors()
    z = q.rsample()
    joint, product = torch.zeros(B).double(), torch.zeros(B).double()
    for i in range(B):
        density = torch.stack([torch.distributions.Normal(q.loc[n], q.scale[n]).log_prob(z[i]).exp() for n in range(B)])
        joint[i] = density.prod(1).mean().log()
        product[i] = density.mean(0).log().sum()
    assert_close(total_correlation(q, z), (joint - product).mean(), rtol=1e-10, atol=1e-10)


def test_the_total_correlation_of_correlated_means_is_that_of_their_gaussian():
    n, r = 3000, 0.9
    a, b = torch.randn(2, n).double()
    means = torch.stack([a, r * a + math.sqrt(1 - r**2) * b], dim=1)
    width = 0.2
    q = Gaussian(means, torch.full_like(means, width))
    expected = -0.5 * math.log(1 - (r / (1 + width**2)) ** 2)
    assert float(total_correlation(q, q.rsample())) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("whole", [False, True])
def test_the_distance_from_the_identity_is_numpys(whole):
    q = posteriors(50)
    c = torch.cov(q.loc.T, correction=0) + (torch.diag(q.scale.square().mean(0)) if whole else 0)
    off = sum(float(c[i, j]) ** 2 for i in range(Z) for j in range(Z) if i != j)
    on = sum((float(c[i, i]) - 1) ** 2 for i in range(Z))
    assert float(distance_from_identity(q, 3.0, 7.0, whole=whole)) == pytest.approx(3 * off + 7 * on, rel=1e-10)


@pytest.mark.parametrize(("penalty", "diagonal", "whole"), [("dip_i", 20.0, False), ("dip_ii", 2.0, True)])
def test_the_two_weigh_the_diagonal_differently(penalty, diagonal, whole, x):
    model = build(penalty=penalty, off_diagonal=2.0)
    q = model.posterior(x)
    expected = distance_from_identity(q, 2.0, diagonal, whole=whole)
    added = seeded(model, x) - seeded(build(penalty=penalty, off_diagonal=0.0), x)
    assert_close(added, expected, rtol=1e-10, atol=1e-10)


def test_the_kl_is_held_at_a_capacity_that_grows(x):
    model = build(penalty="capacity", capacity=8.0, capacity_ramp=0.5, capacity_weight=30.0, beta=3.0)
    torch.manual_seed(3)
    elbo = model.elbo(x)
    for step, capacity in ((0, 0.0), (25, 4.0), (50, 8.0), (100, 8.0)):
        expected = 30 * (elbo.kl.mean() - capacity).abs() - elbo.log_lik.mean()
        assert_close(seeded(model, x, step), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("penalty", "used"),
    [
        ("total_correlation", {"beta", "kl_warmup", "beta_tc"}),
        ("dip_ii", {"beta", "kl_warmup", "off_diagonal"}),
        ("capacity", {"capacity", "capacity_ramp", "capacity_weight"}),
    ],
)
def test_what_a_penalty_does_not_read_is_idle(penalty, used):
    every = {"beta", "kl_warmup", "beta_tc", "off_diagonal", "capacity", "capacity_ramp", "capacity_weight"}
    assert every & set(models.in_use(build(penalty=penalty))) == used
