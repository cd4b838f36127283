import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.special import logsumexp

from metrics import effective_sample_size, log_likelihood, standard_error


@pytest.fixture
def log_weights():
    return np.random.default_rng(0).normal(-100, 5, size=(200, 6))


def test_log_likelihood_is_the_log_of_the_mean_weight():
    log_w = np.log([[1.0, 8.0], [3.0, 8.0]])
    np.testing.assert_allclose(log_likelihood(log_w), np.log([2.0, 8.0]), rtol=1e-15)


def test_log_likelihood_agrees_with_scipy(log_weights):
    expected = logsumexp(log_weights, axis=0) - math.log(200)
    np.testing.assert_allclose(log_likelihood(log_weights), expected, rtol=1e-14)


def test_log_likelihood_of_one_draw_is_its_weight(log_weights):
    np.testing.assert_array_equal(log_likelihood(log_weights[:1]), log_weights[0])


@pytest.mark.parametrize("constant", [-1e6, 1e6])
def test_a_constant_moves_the_likelihood_and_not_the_sample_size(log_weights, constant):
    moved = log_weights + constant
    np.testing.assert_allclose(log_likelihood(moved) - constant, log_likelihood(log_weights), rtol=1e-9)
    np.testing.assert_allclose(effective_sample_size(moved), effective_sample_size(log_weights), rtol=1e-6)


def test_single_precision_is_summed_in_double():
    log_w = np.full((5000, 1), -89.1, np.float32)
    estimate = log_likelihood(log_w)
    assert estimate.dtype == np.float64
    assert estimate[0] == pytest.approx(float(log_w[0, 0]), abs=1e-12)


def test_log_likelihood_of_a_gaussian_model():
    # z ~ N(0, 1), x | z ~ N(z, 1), so p(x) = N(0, 2) and p(z | x) = N(x / 2, 1 / 2); the proposal is wider than that.
    random = np.random.default_rng(0)
    x = np.array([-1.0, 0.0, 2.0])
    scale = 1.0
    z = x / 2 + scale * random.normal(size=(100_000, 3))

    def log_normal(value, mean, deviation):
        return -0.5 * ((value - mean) / deviation) ** 2 - math.log(deviation * math.sqrt(2 * math.pi))

    log_w = log_normal(z, 0, 1) + log_normal(x, z, 1) - log_normal(z, x / 2, scale)
    # Relative variance of a weight: E[w^2] / E[w]^2 - 1 = 2 / sqrt(3) - 1 = 0.155, so one standard error is
    # sqrt(0.155 / 1e5) = 1.2e-3; five of them fail three times by chance in a million.
    np.testing.assert_allclose(log_likelihood(log_w), log_normal(x, 0, math.sqrt(2)), atol=5 * 1.25e-3)


def test_sample_size_runs_from_one_to_all():
    log_w = np.zeros((10, 2))
    log_w[3, 1] = 800
    np.testing.assert_allclose(effective_sample_size(log_w), [10, 1])


def test_sample_size_by_hand():
    weights = [Fraction(1), Fraction(2), Fraction(5)]
    expected = sum(weights) ** 2 / sum(w**2 for w in weights)
    assert effective_sample_size(np.log([[1.0], [2.0], [5.0]]))[0] == pytest.approx(float(expected))


def test_standard_error_is_that_of_the_mean_weight_over_the_mean(log_weights):
    w = np.exp(log_weights - log_weights.max(axis=0))
    expected = w.std(axis=0, ddof=1) / math.sqrt(200) / w.mean(axis=0)
    np.testing.assert_allclose(standard_error(log_weights), expected, rtol=1e-9)
    np.testing.assert_allclose(standard_error(log_weights + 1e6), expected, rtol=1e-6)


def test_standard_error_of_equal_weights_is_0_and_of_one_draw_unknown():
    np.testing.assert_allclose(standard_error(np.full((50, 2), -90.0)), [0, 0], atol=1e-7)
    assert np.isnan(standard_error([[-90.0, -80.0]])).all()


def test_standard_error_is_the_spread_of_estimates():
    # Weights exp(0.5 e), e ~ N(0, 1), of 400 draws: the delta method is good to 1 / 400, and the deviation over 2000
    # repetitions to 1 / sqrt(4000), 1.6 %; seven of these are allowed, for the weights' tails too.
    log_w = 0.5 * np.random.default_rng(0).normal(size=(400, 2000))
    assert log_likelihood(log_w).std() == pytest.approx(standard_error(log_w).mean(), rel=0.11)


@pytest.mark.parametrize("metric", [log_likelihood, effective_sample_size, standard_error])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1.0, 2.0], r"log_weights must be \[S, B\], .* but has shape \[2\]"),
        (np.zeros((0, 3)), r"shape \[0, 3\]"),
        ([["0", "1"]], "log_weights must hold real numbers"),
    ],
)
def test_wrong_log_weights_are_refused(metric, given, message):
    with pytest.raises(ValueError, match=message):
        metric(given)


def test_a_weight_of_0_counts_as_0():
    log_w = [[math.log(3.0), -100.0], [-math.inf, -math.inf], [math.log(6.0), -math.inf]]
    np.testing.assert_allclose(log_likelihood(log_w), [math.log(3.0), -100 - math.log(3)], rtol=1e-12)
    np.testing.assert_allclose(effective_sample_size(log_w), [81 / 45, 1], rtol=1e-12)
    np.testing.assert_allclose(standard_error(log_w), np.sqrt([(3 * 45 / 81 - 1) / 2, 1]), rtol=1e-12)


@pytest.mark.filterwarnings("error")
def test_an_image_whose_weights_say_nothing_leaves_the_others_alone(log_weights):
    expected = [take(log_weights[:, :1])[0] for take in (log_likelihood, effective_sample_size, standard_error)]
    log_weights[:, 1] = -math.inf
    log_weights[3, 2:4] = math.nan, math.inf
    log_weights[:, 4] = math.nan
    log_weights[:, 5] = math.inf
    found = np.array([take(log_weights) for take in (log_likelihood, effective_sample_size, standard_error)])
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-12)
    np.testing.assert_array_equal(found[:, 1], [-math.inf, math.nan, math.nan])
    assert np.isnan(found[:, 2:]).all()
