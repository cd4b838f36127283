"""Total and Wasserstein correlation against closed forms and scipy."""

import math

import numpy as np
import pytest
from scipy.linalg import sqrtm

from metrics import total_correlation, wasserstein_correlation
from metrics.total_correlation import total_correlation_of
from metrics.wasserstein_correlation import wasserstein_of


@pytest.fixture
def codes():
    random = np.random.default_rng(0)
    return random.normal(size=(500, 4)) @ random.normal(size=(4, 4)) + 3


def test_total_correlation_of_two():
    r = 0.6  # -1/2 log (1 - r^2), whatever the variances
    assert total_correlation_of(np.array([[4, 2 * r * 3], [2 * r * 3, 9]])) == pytest.approx(-math.log(1 - r**2) / 2)


def test_total_correlation_by_its_formula(codes):
    s = np.cov(codes.T)
    expected = (np.log(np.diag(s)).sum() - np.linalg.slogdet(s)[1]) / 2
    assert total_correlation(codes) == pytest.approx(expected, rel=1e-9)
    assert total_correlation(codes * [1e-30, 1, -7, 1e30]) == pytest.approx(expected, rel=1e-9)


def test_wasserstein_by_its_formula(codes):
    s = np.cov(codes.T)
    root = sqrtm(np.diag(np.diag(s)) @ s)
    expected = 2 * np.trace(s) - 2 * np.trace(root).real
    assert wasserstein_correlation(codes) == pytest.approx(expected, rel=1e-9)
    assert wasserstein_correlation(codes, normalise=True) == pytest.approx(expected / np.trace(s), rel=1e-9)
    assert wasserstein_correlation(3 * codes) == pytest.approx(9 * expected, rel=1e-9)


def test_wasserstein_of_two_copies():
    # The covariance of ones has the spectrum (2, 0): 2 * 2 - 2 sqrt 2.
    assert wasserstein_of(np.ones((2, 2))) == pytest.approx(4 - 2 * math.sqrt(2))


def test_a_linear_function_of_others_is_infinitely_dependent(codes):
    assert total_correlation(np.c_[codes, codes[:, 0]]) == math.inf
    assert total_correlation(np.c_[codes, codes @ [1, -2, 3, 1]]) == math.inf
    assert math.isfinite(
        total_correlation(np.c_[codes, codes[:, 0] + 1e-4 * np.random.default_rng(1).normal(size=500)])
    )


def test_constants_are_independent(codes):
    assert total_correlation(np.c_[codes, np.full(500, 0.1)]) == total_correlation(codes)
    assert wasserstein_correlation(np.c_[codes, np.full(500, 0.1)]) == pytest.approx(wasserstein_correlation(codes))
