"""Table 9.8 of the dossier on non-synergistic VAEs: the settings of the 2019 study on synthetic codes of dSprites'
factors.

Codes are linear in factors of variance 1. Where the table gives one draw, the tolerance is what a score moved between
our own draws; where it gives mean and deviation of 8 draws, ours may be off by 1.5 deviations, which is three standard
errors of the difference of two such means. DCI is on LightGBM's trees.
"""

import numpy as np
import pytest

import metrics

SIZES = (3, 6, 40, 32, 32)
VOTES = (2000, 2000)
DRAWS = 8


@pytest.fixture(scope="module")
def train(drawn):
    return drawn("perfect", 10_000, 0, SIZES)


@pytest.fixture(scope="module")
def other(drawn):
    return drawn("perfect", 5_000, 1, SIZES)


def with_dead(codes: np.ndarray) -> np.ndarray:
    return np.concatenate([codes, 1e-3 * np.random.default_rng(2).normal(size=codes.shape)], axis=1)


def mixtures() -> list[np.ndarray]:
    return [np.random.default_rng(seed).normal(size=(5, 10)) for seed in range(DRAWS)]


def test_true_factors(train):
    assert metrics.mig(*train) == pytest.approx(0.896, abs=0.005)
    assert metrics.modularity(*train) == pytest.approx(1, abs=0.001)


def test_true_factors_beside_dead_latents(train, other):
    codes, test = with_dead(train.codes), (with_dead(other.codes), other.factors)
    random = np.random.default_rng(0)
    assert metrics.factor_vae(codes, train.factors, random, votes=VOTES) == 1
    assert metrics.beta_vae(codes, train.factors, random, votes=VOTES) == 1
    assert metrics.mig(codes, train.factors) == pytest.approx(0.895, abs=0.005)
    assert metrics.modularity(codes, train.factors) == pytest.approx(0.846, abs=0.02)
    assert metrics.sap(codes, train.factors, test=test) == pytest.approx(0.248, abs=0.01)


def test_pure_noise(train, other):
    random = np.random.default_rng(0)
    codes, test = random.normal(size=(10_000, 10)), (random.normal(size=(5_000, 10)), other.factors)
    assert metrics.factor_vae(codes, train.factors, random, votes=VOTES) == pytest.approx(0.209, abs=0.03)
    assert metrics.beta_vae(codes, train.factors, random, votes=VOTES) == pytest.approx(0.213, abs=0.03)
    assert metrics.mig(codes, train.factors) == pytest.approx(0, abs=0.001)
    assert metrics.modularity(codes, train.factors) == pytest.approx(0.682, abs=0.04)
    assert metrics.sap(codes, train.factors, test=test) == pytest.approx(0.003, abs=0.004)


def test_linear_mixtures(train):
    found = []
    for mixture in mixtures():
        codes, random = train.codes @ mixture, np.random.default_rng(0)
        found.append(
            [
                metrics.factor_vae(codes, train.factors, random, votes=VOTES),
                metrics.beta_vae(codes, train.factors, random, votes=VOTES),
                metrics.mig(codes, train.factors),
                metrics.modularity(codes, train.factors),
            ]
        )
    mean, deviation = np.array([0.924, 0.991, 0.088, 0.840]), np.array([0.052, 0.010, 0.040, 0.035])
    assert (np.abs(np.mean(found, axis=0) - mean) <= 1.5 * deviation).all()


@pytest.mark.long
def test_sap_of_linear_mixtures(train, other):
    found = [
        metrics.sap(train.codes @ mixture, train.factors, test=(other.codes @ mixture, other.factors))
        for mixture in mixtures()
    ]
    assert abs(np.mean(found) - 0.038) <= 1.5 * 0.020


@pytest.mark.long
def test_dci(train, other):
    test = (with_dead(other.codes), other.factors)
    found = metrics.dci(with_dead(train.codes), train.factors, test=test, trees="lightgbm")
    np.testing.assert_allclose(found, [1, 1, 1], atol=0.01)
    mixture = mixtures()[0]
    test = (other.codes @ mixture, other.factors)
    found = metrics.dci(train.codes @ mixture, train.factors, test=test, trees="lightgbm")
    np.testing.assert_allclose(found, [0.245, 0.184, 0.489], atol=0.1)
