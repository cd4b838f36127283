"""FactorVAE's and beta-VAE's scores against a loop over votes, and that draws are what they should be."""

import itertools

import numpy as np
import pytest

from metrics import factor_vae
from metrics.factor_vae import mini_batches, variances
from metrics.sharing import dealt, numbers, partners

SIZES = (3, 4, 5)


@pytest.fixture(scope="module")
def grid():
    """All of a grid of factors, [60, 3]."""
    return np.array(list(itertools.product(*map(range, SIZES))))


def test_variances_are_those_of_each_mini_batch():
    random = np.random.default_rng(0)
    codes = random.normal(100, 1, (50, 4))
    rows = random.integers(50, size=(16, 30))
    expected = [codes[rows[:, vote]].var(axis=0, ddof=1) for vote in range(30)]
    np.testing.assert_allclose(variances(codes, rows), expected, rtol=1e-9)


def test_what_a_mini_batch_shares_varies_by_exactly_0(grid):
    codes = grid * np.pi + 0.1
    fixed = np.arange(30) % 3
    found = variances(codes, mini_batches(grid, fixed, 64, np.random.default_rng(0)))
    assert ((found == 0) == (fixed[:, None] == np.arange(3))).all()


def test_score_is_that_of_a_loop_over_votes():
    random = np.random.default_rng(0)
    factors = random.integers(0, SIZES, (2000, 3))
    codes = factors @ random.normal(size=(3, 6)) + random.normal(size=(2000, 6))
    codes[:, 5] *= 1e-4  # takes no part

    def vote(k: int) -> int:
        value = factors[random.integers(2000), k]
        batch = codes[random.choice(np.flatnonzero(factors[:, k] == value), 64)]
        return int(np.argmin((batch.var(axis=0, ddof=1) / codes.var(axis=0, ddof=1))[:5]))

    votes = np.zeros((2, 3, 5))
    for part, k in [(0, i % 3) for i in range(1500)] + [(1, i % 3) for i in range(1500)]:
        votes[part, k, vote(k)] += 1
    expected = sum(votes[1, votes[0, :, j].argmax(), j] for j in range(5)) / 1500
    found = factor_vae(codes, factors, np.random.default_rng(1), votes=(1500, 1500))
    assert 0.5 < expected < 0.99
    # The two accuracies have a standard error of at most sqrt(0.25 / 1500) = 0.013 each: five of their difference's.
    assert found == pytest.approx(expected, abs=5 * 0.018)


def test_mini_batches_share_one_value_and_vary_otherwise(grid):
    fixed = dealt(20, 10, 3)
    rows = mini_batches(grid, fixed, 64, np.random.default_rng(0))
    assert rows.shape == (64, 30)
    for vote, k in enumerate(fixed):
        varies = np.ptp(grid[rows[:, vote]], axis=0) > 0
        assert (varies == (np.arange(3) != k)).all()


def test_factors_are_held_fixed_equally_often():
    fixed = dealt(7, 5, 3)
    np.testing.assert_array_equal(np.bincount(fixed[:7]), [3, 2, 2])
    np.testing.assert_array_equal(np.bincount(fixed[7:]), [2, 2, 1])


def test_partners_are_drawn_evenly_from_those_that_share(grid):
    factor = np.array([0, 2, 2, 0, 2, 5])
    values = np.repeat([0, 2, 5], 10_000)
    found = partners(factor, values, np.random.default_rng(0))
    np.testing.assert_array_equal(factor[found], values)
    shares = np.bincount(found, minlength=6) / 10_000
    # Standard errors of at most sqrt(0.25 / 10000) = 0.005; five of them.
    np.testing.assert_allclose(shares, [1 / 2, 1 / 3, 1 / 3, 1 / 2, 1 / 3, 1], atol=0.025)


def test_numbers_of_votes():
    assert numbers(1000) == (1000, 500)
    assert numbers(np.int64(1)) == (1, 1)
    assert numbers((7, 3)) == (7, 3)


def test_latents_below_the_threshold_take_no_part(grid):
    codes = np.repeat(grid, 20, axis=0) * 0.01
    factors = np.repeat(grid, 20, axis=0)
    assert factor_vae(codes, factors, np.random.default_rng(0), votes=30) == 0
    assert factor_vae(codes, factors, np.random.default_rng(0), votes=30, threshold=0.001) == 1


def test_a_mini_batch_of_one_is_refused(grid):
    with pytest.raises(ValueError, match="batch must be at least 2, for a variance, but is 1"):
        factor_vae(grid, grid, np.random.default_rng(0), batch=1)
