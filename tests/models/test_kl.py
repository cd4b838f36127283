"""KL divergences in closed form against sampling and the replication's own numbers.

Seeds are fixed, so a test that passes once always passes; "4 standard errors" fails by chance once in 16,000
comparisons, should torch's stream of random numbers ever change.
"""

import math

import pytest
import torch
from draws import B, Z, gaussian, kl, precision_gaussian, reflected, sparse_prior, spike_slab, standard_normal
from torch import Tensor
from torch.distributions import Distribution
from torch.testing import assert_close

from models.distributions import Gaussian, PrecisionGaussian, SpikeSlab, closed_kl
from models.vampprior import EqualMixture

pytestmark = pytest.mark.usefixtures("float64")


PAIRS = {
    "gaussian, gaussian": (gaussian, gaussian),
    "gaussian, its prior": (gaussian, lambda *batch: standard_normal()),
    "precision, gaussian": (precision_gaussian, gaussian),
    "precision, its prior": (precision_gaussian, lambda *batch: standard_normal()),
    "spike-slab, spike-slab": (spike_slab, spike_slab),
    "spike-slab, alpha 0.01": (spike_slab, lambda *batch: sparse_prior(0.01)),
    "spike-slab, alpha 0.5": (spike_slab, lambda *batch: sparse_prior(0.5)),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_closed_kl_is_the_mean_log_ratio_of_exact_draws(pair):
    make_q, make_p = PAIRS[pair]
    q, p = make_q(B), make_p(B)
    z = q.sample((100_000,))
    log_ratio = q.log_prob(z) - p.log_prob(z)
    standard_error = log_ratio.std(0) / math.sqrt(len(z))
    assert (standard_error <= 0.02 * kl(q, p)).all()  # small enough for a lost term to show
    assert ((log_ratio.mean(0) - kl(q, p)).abs() <= 4 * standard_error).all()


@pytest.mark.parametrize("case", [0, 1, 2])
def test_spike_slab_kl_equals_the_replication(golden, case):
    g = golden(f"vsc_{case}")
    loc, scale, probs = g["kl.mu"], (0.5 * g["kl.logvar"]).exp(), g["kl.logspike"].exp()
    q = SpikeSlab(loc, scale, probs, margin=1e-6)
    for alpha, total, per_sample in zip(g["kl.alpha"], g["kl.sum"], g["kl.per_sample"]):
        p = SpikeSlab(torch.zeros_like(loc[0]), torch.ones_like(loc[0]), alpha)
        assert_close(kl(q, p), per_sample, rtol=1e-9, atol=1e-9)  # golden's own tolerance
        assert_close(kl(q, p).sum(), total, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_spike_slab_kl_is_gaussian_where_both_slabs_are_certain(dtype, tolerance):
    q, p = gaussian(B), gaussian()
    loc, scale = (t.to(dtype).requires_grad_() for t in (q.loc, q.scale))
    probs = torch.ones(B, Z, dtype=dtype, requires_grad=True)
    p_loc, p_scale = p.loc.to(dtype), p.scale.to(dtype)
    sparse = kl(SpikeSlab(loc, scale, probs), SpikeSlab(p_loc, p_scale, torch.ones(Z, dtype=dtype)))
    dense = kl(Gaussian(loc, scale), Gaussian(p_loc, p_scale))
    assert_close(sparse, dense, rtol=tolerance, atol=tolerance)

    of_sparse = torch.autograd.grad(sparse.sum(), (loc, scale, probs))
    of_dense = torch.autograd.grad(dense.sum(), (loc, scale))
    assert_close(of_sparse[:2], of_dense, rtol=tolerance, atol=tolerance)
    assert all(torch.isfinite(g).all() for g in of_sparse)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("probs", [0.0, 1e-30, 0.5, 1.0])
def test_spike_slab_kl_and_gradients_are_finite_up_to_the_edges(dtype, probs):
    loc, scale, gamma = (torch.full((B, Z), value, dtype=dtype, requires_grad=True) for value in (0.3, 0.7, probs))
    z = torch.tensor([0.0, 0.0, 0.5, -0.5, 1.0], dtype=dtype)
    q = SpikeSlab(loc, scale, gamma)
    p = SpikeSlab(torch.zeros(Z, dtype=dtype), torch.ones(Z, dtype=dtype), torch.full((Z,), 0.01, dtype=dtype))
    for value in (kl(q, p).sum(), q.log_prob(z).sum()):
        gradients = torch.autograd.grad(value, (loc, scale, gamma), retain_graph=True)
        assert torch.isfinite(value)
        assert all(torch.isfinite(g).all() for g in gradients)


def test_spike_slab_kl_in_logits_far_beyond_what_probs_can_hold():
    logits = torch.tensor([[-800.0, 800.0]], requires_grad=True)
    q = SpikeSlab(torch.zeros(2), torch.ones(2), logits=logits)
    p = SpikeSlab(torch.zeros(2), torch.ones(2), torch.full((2,), 0.01))
    assert_close(kl(q, p), torch.tensor([-math.log(0.99) - math.log(0.01)]))  # off for certain, on for certain
    assert torch.isfinite(torch.autograd.grad(kl(q, p).sum(), logits)[0]).all()


def test_an_unused_coordinate_costs_nothing():
    alpha = 0.01
    at_prior = SpikeSlab(torch.zeros(B, Z), torch.ones(B, Z), torch.full((B, Z), alpha))
    assert_close(kl(at_prior, sparse_prior(alpha)), torch.zeros(B), rtol=0, atol=1e-14)


CLOSED = {(Gaussian, Gaussian), (PrecisionGaussian, Gaussian), (SpikeSlab, SpikeSlab)}


def mixture() -> EqualMixture:
    return EqualMixture(gaussian(3))


@pytest.mark.parametrize("make_p", [gaussian, precision_gaussian, spike_slab, reflected, mixture])
@pytest.mark.parametrize("make_q", [gaussian, precision_gaussian, spike_slab, reflected])
def test_which_pairs_have_a_closed_kl(make_q, make_p):
    q, p = make_q(B), make_p()
    assert isinstance(closed_kl(q, p), Tensor) == ((type(q), type(p)) in CLOSED)
    if (type(q), type(p)) not in CLOSED:
        assert closed_kl(q, p) is None


@pytest.mark.parametrize("make", [gaussian, precision_gaussian, spike_slab])
def test_closed_kl_broadcasts_its_second_argument(make):
    q, p = make(B), spike_slab() if make is spike_slab else gaussian()
    assert kl(q, p).shape == (B,)
    rows = torch.cat([kl(row, p) for row in (q_row(q, i) for i in range(B))])
    assert_close(kl(q, p), rows)
    assert_close(kl(q, p.expand((B,))), rows)


def q_row(q: Distribution, i: int) -> Distribution:
    if isinstance(q, SpikeSlab):
        return SpikeSlab(q.loc[i : i + 1], q.scale[i : i + 1], logits=q.logits[i : i + 1])
    if isinstance(q, PrecisionGaussian):
        return PrecisionGaussian(q.loc[i : i + 1], q.factor[i : i + 1])
    return Gaussian(q.loc[i : i + 1], q.scale[i : i + 1])


@pytest.mark.parametrize("make", [gaussian, precision_gaussian, spike_slab])
def test_closed_kl_refuses_events_of_different_shapes(make):
    one = SpikeSlab(torch.zeros(1), torch.ones(1), torch.ones(1)) if make is spike_slab else Gaussian(*torch.ones(2, 1))
    with pytest.raises(ValueError, match=r"\(5,\) and \(1,\)"):
        closed_kl(make(B), one)


def test_a_relaxed_posterior_counts_as_its_exact_form_in_the_kl():
    q = spike_slab(B)
    relaxed = SpikeSlab(q.loc, q.scale, q.probs, steepness=50.0)
    assert_close(kl(relaxed, sparse_prior(0.2)), kl(q, sparse_prior(0.2)), rtol=0, atol=0)
