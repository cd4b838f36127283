"""The spike-and-slab distribution and its relaxed gate against sampling, quadrature and scipy.

Seeds are fixed, so a test that passes once always passes; "4 standard errors" fails by chance once in 16,000
comparisons, should torch's stream of random numbers ever change.
"""

import itertools
import math

import pytest
import scipy.stats
import torch
from draws import B, Z, spike_slab
from torch import Tensor
from torch.testing import assert_close

from models.distributions import RELAXATIONS, SpikeSlab

pytestmark = pytest.mark.usefixtures("float64")


# The spike-and-slab density and its exact draws.


@pytest.mark.parametrize("probs", [0.01, 0.3, 0.999])
def test_spike_slab_integrates_to_one(probs):
    q = SpikeSlab(torch.tensor([0.7]), torch.tensor([0.4]), torch.tensor([probs]))
    z = 0.7 + 0.4 * torch.linspace(-9, 9, 2001)[:, None]  # smooth and negligible at the ends: exact to rounding
    assert (z != 0).all()
    slab = torch.trapezoid(q.log_prob(z).exp(), z[:, 0])
    spike = q.log_prob(torch.zeros(1)).exp()
    assert_close(spike, torch.tensor(1 - probs), rtol=1e-12, atol=0)
    assert_close(slab + spike, torch.tensor(1.0), rtol=0, atol=1e-12)


def test_spike_slab_log_prob_adds_up_coordinates():
    q = spike_slab(B)
    z = q.sample((20,))
    expected = torch.zeros(20, B)
    for s, b, j in itertools.product(range(20), range(B), range(Z)):
        loc, scale, probs = (float(t[b, j]) for t in (q.loc, q.scale, q.probs))
        value = float(z[s, b, j])
        on = math.log(probs) + scipy.stats.norm.logpdf(value, loc, scale)
        expected[s, b] += math.log1p(-probs) if value == 0 else on
    assert_close(q.log_prob(z), expected, rtol=1e-12, atol=1e-12)


def test_share_of_exact_zeros_is_that_of_the_spike():
    n, q = 20_000, spike_slab(B)
    off = (q.sample((n,)) == 0).to(q.loc.dtype).mean(0)
    standard_error = (q.probs * (1 - q.probs) / n).sqrt()
    assert ((off - (1 - q.probs)).abs() <= 4 * standard_error).all()


def test_spike_slab_moments_are_those_of_its_draws():
    n, q = 100_000, spike_slab(B)
    z = q.sample((n,))
    squares = (z - q.mean) ** 2
    assert ((z.mean(0) - q.mean).abs() <= 4 * z.std(0) / math.sqrt(n)).all()
    assert ((squares.mean(0) - q.variance).abs() <= 4 * squares.std(0) / math.sqrt(n)).all()


def test_spike_slab_mode_is_exactly_zero_where_the_spike_is_likelier():
    q = SpikeSlab(torch.tensor([1.0, 2.0, 3.0]), torch.ones(3), torch.tensor([0.49, 0.5, 0.51]))
    assert q.mode.tolist() == [0.0, 2.0, 3.0]


# The relaxed gate.


def gates(probs: float, n: int = 100_000, **relaxation) -> Tensor:
    """The gate at the midpoints of n equal intervals of eta: a mean over them is a quadrature over eta."""
    eta = ((torch.arange(n) + 0.5) / n)[:, None]
    one = SpikeSlab(torch.ones(1), torch.ones(1), torch.tensor([probs]), **relaxation)
    return one.rsample(noise=(torch.zeros(n, 1), eta))[:, 0]  # the slab is 1


@pytest.mark.parametrize("c", [5.0, 50.0, 200.0])
@pytest.mark.parametrize("gamma", [0.01, 0.2, 0.5, 0.97])
def test_mean_of_the_sigmoid_gate(c, gamma):
    softplus = torch.nn.functional.softplus(c * torch.tensor([gamma, gamma - 1]))
    expected = (softplus[0] - softplus[1]) / c
    # Midpoint rule, |error| <= max|T''| / (24 n^2) <= (200^2 / 10) / (24e10) < 2e-8.
    assert_close(gates(gamma, steepness=c).mean(), expected, rtol=0, atol=2e-8)


def test_mean_of_the_sigmoid_gate_leaks_as_much_as_the_dossier_says():
    for gamma, c, mean in [(0.0, 50, 0.01386), (0.01, 50, 0.01948), (0.01, 200, 0.01063), (1.0, 200, 0.99653)]:
        assert float(gates(gamma, steepness=float(c)).mean()) == pytest.approx(mean, abs=6e-6)  # five decimals given


@pytest.mark.parametrize("relaxation", [None, *RELAXATIONS])
@pytest.mark.parametrize("gamma", [0.003, 0.3, 0.9])
def test_a_gate_is_open_with_probability_gamma(relaxation, gamma):
    settings = {} if relaxation is None else {"steepness": 50.0, "relaxation": relaxation}
    share = (gates(gamma, **settings) > 0.5).double().mean()
    assert float(share) == pytest.approx(gamma, abs=2e-5)  # counted on 100,000 midpoints, one at either end


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_straight_through_is_exact_forwards_and_the_sigmoid_backwards(dtype):
    shape = (1000, Z)
    eta, eps = torch.rand(shape, dtype=dtype), torch.randn(shape, dtype=dtype)
    loc, scale = torch.randn(Z, dtype=dtype), torch.rand(Z, dtype=dtype) + 0.1
    probs = torch.linspace(0.1, 0.9, Z, dtype=dtype, requires_grad=True)
    draws, gradients = {}, {}
    for name in ("exact", "sigmoid", "straight_through"):
        relaxation = {} if name == "exact" else {"steepness": 20.0, "relaxation": name}
        z = SpikeSlab(loc, scale, probs, **relaxation).rsample(noise=(eps, eta))
        draws[name] = z.detach()
        if name != "exact":
            (gradients[name],) = torch.autograd.grad(z.sum(), probs)
    assert torch.equal(draws["straight_through"], draws["exact"])
    assert not torch.allclose(draws["sigmoid"], draws["exact"])
    assert_close(gradients["straight_through"], gradients["sigmoid"])
    assert (gradients["sigmoid"] != 0).all()


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_relaxed_draws_approach_exact_ones(relaxation):
    exact = gates(0.3)
    error = [float((gates(0.3, steepness=c, relaxation=relaxation) - exact).abs().mean()) for c in (10.0, 1000.0)]
    assert error[1] < 2e-3  # 2 ln 2 / c for the sigmoid; 0.21 of that for concrete, whose slope in eta is 1 / 0.21
    assert error[1] < error[0] or relaxation == "straight_through"  # which is exact at any c


@pytest.mark.parametrize("relaxation", ["sigmoid", "concrete"])
def test_relaxed_draws_have_no_density(relaxation):
    q = SpikeSlab(torch.zeros(Z), torch.ones(Z), torch.full((Z,), 0.5), steepness=50.0, relaxation=relaxation)
    with pytest.raises(ValueError, match="no density"):
        q.log_prob(q.rsample())


def test_straight_through_draws_have_the_density_of_exact_ones():
    q = spike_slab(B)
    relaxed = SpikeSlab(q.loc, q.scale, q.probs, steepness=50.0, relaxation="straight_through")
    z = relaxed.rsample((200,))
    assert 0.1 < (z == 0).double().mean() < 0.9
    assert_close(relaxed.log_prob(z), q.log_prob(z), rtol=0, atol=0)


@pytest.mark.parametrize("case", [0, 1, 2])
def test_relaxed_draws_equal_the_replication(golden, case):
    g = golden(f"vsc_{case}")
    loc, scale, probs = g["out.mu"], (0.5 * g["out.logvar"]).exp(), g["out.logspike"].exp()
    for c, z in zip(g["reparam.c"], g["reparam.z"]):
        q = SpikeSlab(loc, scale, probs, steepness=c)
        assert_close(q.rsample(noise=(g["noise.eps"], g["noise.eta"])), z, rtol=1e-9, atol=1e-9)
