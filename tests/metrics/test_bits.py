"""Bits per dimension against hand computations; rounding only, so 1e-12."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, SigmoidTransform, TransformedDistribution, Uniform

from metrics import bits_per_dimension
from models.likelihoods import DiscretizedLogistic, LogitImages

SHAPE = (3, 4, 5)
D = 60


def test_a_model_to_which_all_levels_are_alike_takes_eight_bits():
    of_levels = bits_per_dimension(-D * math.log(256), SHAPE, kind="bound", dequantised=False)
    of_densities = bits_per_dimension(0.0, SHAPE, kind="bound", dequantised=True)  # 1 on [0, 1]
    assert of_levels == pytest.approx(8, rel=1e-12)
    assert of_densities == 8
    assert bits_per_dimension(-D * math.log(2), SHAPE, kind="bound", dequantised=False) == pytest.approx(1)  # of two


def test_a_density_of_logits_that_is_uniform_over_the_images_takes_eight_bits():
    margin = 0.05
    even = torch.zeros(SHAPE, dtype=torch.float64)
    logistic = TransformedDistribution(Uniform(even, even + 1, validate_args=False), [SigmoidTransform().inv])
    images = LogitImages(Independent(logistic, 3), margin)  # of x: (1 - 2 l)^D on [0, 1]^D, the rest beside it
    nats = images.log_prob(torch.rand(7, *SHAPE, dtype=torch.float64)).numpy()
    bits = bits_per_dimension(nats - D * math.log(1 - 2 * margin), SHAPE, kind="bound", dequantised=True)
    np.testing.assert_allclose(bits, np.full(7, 8.0), rtol=1e-12)


def test_a_histogram_takes_the_same_bits_as_probabilities_and_as_a_density():
    random = np.random.default_rng(0)
    p = random.dirichlet(np.ones(256))
    v = random.integers(0, 256, (10, D))
    by_hand = -np.log2(p[v]).mean(1)
    of_levels = bits_per_dimension(np.log(p[v]).sum(1), SHAPE, kind="bound", dequantised=False)
    of_densities = bits_per_dimension(np.log(256 * p[v]).sum(1), SHAPE, kind="bound", dequantised=True)
    np.testing.assert_allclose(of_levels, by_hand, rtol=1e-12)
    np.testing.assert_allclose(of_densities, by_hand, rtol=1e-12)


def test_bits_of_the_logistic_likelihood_are_the_entropy_of_its_masses():
    p = DiscretizedLogistic(torch.tensor(0.4, dtype=torch.float64), torch.tensor(-2.0, dtype=torch.float64))
    log_p = p.log_prob(torch.arange(256, dtype=torch.float64) / 255).numpy()
    bits = bits_per_dimension((np.exp(log_p) * log_p).sum(), (1, 1, 1), kind="bound", dequantised=False)
    assert bits == pytest.approx(-(np.exp(log_p) * np.log2(np.exp(log_p))).sum(), rel=1e-12)


def test_a_pair_has_the_dimensions_of_both():
    assert bits_per_dimension(-2 * D, (2, *SHAPE), kind="bound", dequantised=False) == pytest.approx(1 / math.log(2))


@pytest.mark.parametrize("kind", ["soft cross-entropy", "density of grey levels", "estimate"])
@pytest.mark.parametrize("dequantised", [False, True])
def test_what_bounds_no_probability_has_no_bits(kind, dequantised):
    with pytest.raises(ValueError, match=f"there are no bits per dimension of a {kind}: it bounds no log-probability"):
        bits_per_dimension(-100.0, SHAPE, kind=kind, dequantised=dequantised)


def test_what_is_not_known_has_no_bits_and_what_is_impossible_infinitely_many():
    bits = bits_per_dimension([math.nan, -math.inf], SHAPE, kind="bound", dequantised=False)
    np.testing.assert_array_equal(bits, [math.nan, math.inf])
