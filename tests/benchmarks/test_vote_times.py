"""The loop over votes that FactorVAE's score is timed against counts what the score counts."""

import numpy as np

import metrics
from benchmarks import votes
from metrics.factor_vae import majority


def test_the_loop_scores_what_all_votes_at_once_do(monkeypatch):
    monkeypatch.setattr(votes, "VOTES", 3000)
    random = np.random.default_rng(0)
    factors = random.integers(0, (1, 3, 4, 5), (2000, 4))
    codes = factors[:, 1:] @ random.normal(size=(3, 4)) + 0.3 * random.normal(size=(2000, 4))
    counts = votes.looped(codes, factors, random)
    assert counts[0].sum() == 0  # the factor of one value
    assert counts.sum() == 3000
    expected = metrics.factor_vae(codes, factors, random, votes=(3000, 3000))
    assert abs(majority(counts, counts) - expected) < 0.06  # six deviations of two shares of 3,000 votes


def test_the_rows_of_a_vote_share_a_value_of_its_factor():
    factors = np.random.default_rng(0).integers(0, (3, 4), (500, 2))
    for _, (k, rows) in zip(range(50), votes.drawn(factors, np.random.default_rng(1))):
        assert len(rows) == votes.SIZE
        assert len(np.unique(factors[rows, k])) == 1
