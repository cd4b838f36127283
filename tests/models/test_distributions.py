"""The shapes and arguments of distributions, and the Gaussian against scipy.

Seeds are fixed, so a test that passes once always passes; "4 standard errors" fails by chance once in 16,000
comparisons, should torch's stream of random numbers ever change.
"""

import math

import pytest
import scipy.stats
import torch
from draws import B, Z, gaussian, precision_gaussian, reflected, spike_slab
from torch.testing import assert_close

from models.distributions import SpikeSlab

pytestmark = pytest.mark.usefixtures("float64")


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
