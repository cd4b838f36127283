"""The distributions against sampling, quadrature, scipy and the replication's own numbers.

Seeds are fixed, so a test that passes once always passes; "4 standard errors" fails by chance once in 16,000
comparisons, should torch's stream of random numbers ever change.
"""

import itertools
import math

import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal, kl_divergence
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from models.distributions import RELAXATIONS, Gaussian, PrecisionGaussian, SpikeSlab, closed_kl
from models.householder import Reflected
from models.vampprior import EqualMixture

pytestmark = pytest.mark.usefixtures("float64")

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


class LargestOutput(TorchDispatchMode):
    """How many numbers the largest tensor holds that any operation returns."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for t in result if isinstance(result, tuple | list) else [result]:
            if isinstance(t, Tensor):
                stored = t.untyped_storage().nbytes() // t.element_size()  # a view, expanded or not, is no memory
                self.numel = max(self.numel, stored)
        return result


def kl(q: Distribution, p: Distribution) -> Tensor:
    divergence = closed_kl(q, p)
    assert divergence is not None
    return divergence


# KL divergences.

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


def reflected(*batch: int) -> Reflected:
    return Reflected(gaussian(*batch), [torch.randn(*batch, Z)])


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


# The Gaussian with a full precision, against torch's own.


def of_torch(q: PrecisionGaussian) -> MultivariateNormal:
    return MultivariateNormal(q.loc, precision_matrix=q.factor @ q.factor.mT)


def test_precision_gaussian_log_prob_equals_torch():
    q, z = precision_gaussian(B), torch.randn(3, 2, B, Z)
    assert_close(q.log_prob(z), of_torch(q).log_prob(z), rtol=1e-11, atol=1e-11)
    assert_close(q.log_prob(z[0, 0]), of_torch(q).log_prob(z[0, 0]), rtol=1e-11, atol=1e-11)
    points = torch.randn(7, 1, Z)  # one for all of the batch
    assert_close(q.log_prob(points), of_torch(q).log_prob(points), rtol=1e-11, atol=1e-11)


def test_precision_gaussian_draws_have_its_mean_and_covariance():
    n, q = 200_000, precision_gaussian(B)
    covariance = of_torch(q).covariance_matrix
    assert_close(q.covariance, covariance, rtol=1e-11, atol=1e-11)
    assert (covariance - torch.diag_embed(covariance.diagonal(dim1=-2, dim2=-1))).abs().max() > 0.1  # not diagonal
    centred = q.sample((n,)) - q.loc
    products = centred[..., :, None] * centred[..., None, :]
    assert (centred.mean(0).abs() <= 4 * centred.std(0) / math.sqrt(n)).all()
    assert ((products.mean(0) - covariance).abs() <= 4 * products.std(0) / math.sqrt(n)).all()


def test_precision_gaussian_draws_are_the_noise_through_the_transposed_factor():
    q = precision_gaussian(B)
    for shape in ((B, Z), (1, B, Z), (3, 2, B, Z)):
        noise = torch.randn(shape)
        z = q.rsample(noise=noise)
        assert z.shape == shape
        for b in range(B):
            expected = q.loc[b] + noise[..., b, :] @ q.factor[b].inverse()  # (L^-T e)^T = e^T L^-1
            assert_close(z[..., b, :], expected, rtol=1e-11, atol=1e-11)


def test_the_density_of_precision_gaussian_draws_is_that_of_their_noise():
    q, noise = precision_gaussian(B), torch.randn(3, B, Z)
    log_det = q.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    expected = standard_normal().log_prob(noise) + log_det
    assert_close(q.log_prob(q.rsample(noise=noise)), expected, rtol=1e-11, atol=1e-11)


def test_the_density_of_many_draws_copies_no_factor():
    q, draws = precision_gaussian(B), 1000
    z = q.sample((draws,))
    largest = LargestOutput()
    with largest:
        q.log_prob(z)
        q.rsample((draws,))
    assert largest.numel <= 2 * z.numel()  # L for every draw would be Z times as much


def test_precision_gaussian_kl_equals_torch():
    q, p = precision_gaussian(B), gaussian(B)
    normal = MultivariateNormal(p.loc, torch.diag_embed(p.scale**2))
    assert_close(kl(q, p), kl_divergence(of_torch(q), normal), rtol=1e-11, atol=1e-11)


def test_precision_gaussian_kl_is_gaussian_where_the_precision_is_diagonal():
    q, p = gaussian(B), gaussian()
    same = PrecisionGaussian(q.loc, torch.diag_embed(1 / q.scale))
    assert_close(kl(same, p), kl(q, p), rtol=1e-12, atol=1e-12)
    assert_close(kl(PrecisionGaussian(p.loc, torch.diag(1 / p.scale)), p), torch.tensor(0.0), rtol=0, atol=1e-12)


# Shapes and arguments.


def test_gaussian_draws_are_loc_plus_scale_times_noise():
    q, noise = gaussian(B), torch.randn(3, B, Z)
    assert_close(q.rsample(noise=noise), q.loc + q.scale * noise, rtol=0, atol=0)


def test_gaussian_draws_its_own_noise_where_none_is_given():
    n, q = 100_000, gaussian(B)
    z = q.rsample((n,))
    assert ((z.mean(0) - q.loc).abs() <= 4 * q.scale / math.sqrt(n)).all()
    assert ((z.var(0) - q.scale**2).abs() <= 4 * q.scale**2 * math.sqrt(2 / n)).all()  # the error of a variance


def test_gaussian_log_prob_equals_scipy():
    q = gaussian(B)
    z = torch.randn(7, B, Z)
    expected = scipy.stats.norm.logpdf(z.numpy(), q.loc.numpy(), q.scale.numpy()).sum(-1)
    assert_close(q.log_prob(z), torch.from_numpy(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", [gaussian, precision_gaussian, reflected, spike_slab])
def test_shapes(make):
    q = make(B)
    assert (q.batch_shape, q.event_shape) == ((B,), (Z,))
    assert q.sample().shape == (B, Z)
    assert q.rsample((3, 2)).shape == (3, 2, B, Z)
    assert q.log_prob(q.sample((3, 2))).shape == (3, 2, B)
    assert q.mean.shape == q.mode.shape == (B, Z)
    assert make not in (gaussian, spike_slab) or q.variance.shape == (B, Z)


@pytest.mark.parametrize("make", [gaussian, spike_slab])
def test_expand_repeats_the_same_distribution(make):
    p = make()
    wide = p.expand((3, B))
    assert type(wide) is type(p)
    assert (wide.batch_shape, wide.event_shape) == ((3, B), (Z,))
    z = p.sample((3, B))
    assert_close(wide.log_prob(z), p.log_prob(z), rtol=0, atol=0)
    noise = torch.randn(3, B, Z)
    given = noise if make is gaussian else (noise, torch.rand(3, B, Z))
    assert_close(wide.rsample(noise=given), p.rsample(noise=given), rtol=0, atol=0)


def test_expand_keeps_the_relaxation_and_the_margin():
    p = SpikeSlab(torch.zeros(Z), torch.ones(Z), torch.ones(Z), steepness=50.0, margin=1e-3)
    wide = p.expand((B,))
    noise = torch.randn(B, Z), torch.rand(B, Z)
    assert_close(wide.rsample(noise=noise), p.rsample(noise=noise), rtol=0, atol=0)
    assert_close(wide.probs, torch.ones(B, Z))
    assert_close(wide.logits, torch.logit(torch.full((B, Z), 1 - 1e-3)))


def test_logits_and_probs_are_two_names_of_one_distribution():
    q = spike_slab(B)
    same = SpikeSlab(q.loc, q.scale, logits=torch.logit(q.probs))
    z = q.sample((50,))
    assert_close(same.log_prob(z), q.log_prob(z))
    assert_close(same.probs, q.probs)


def test_spike_slab_refuses_bad_arguments():
    loc, scale, half = torch.zeros(Z), torch.ones(Z), torch.full((Z,), 0.5)
    with pytest.raises(ValueError, match="probs or logits"):
        SpikeSlab(loc, scale)
    with pytest.raises(ValueError, match="probs or logits"):
        SpikeSlab(loc, scale, half, logits=half)
    with pytest.raises(ValueError, match="sigmoid, concrete, straight_through, got 'gumbel'"):
        SpikeSlab(loc, scale, half, relaxation="gumbel")
    with pytest.raises(ValueError, match="scale"):
        SpikeSlab(loc, -scale, half)
    with pytest.raises(ValueError, match="probs"):
        SpikeSlab(loc, scale, 3 * half)
    with pytest.raises(ValueError, match="loc"):
        SpikeSlab(loc / 0, scale, half)
