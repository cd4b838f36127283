"""UDR against the definition of its authors' code, and on models that agree, or do not."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import Lasso

from metrics import udr
from metrics.udr import one_to_one


@pytest.fixture
def models():
    """Codes and KL of four models of 500 images, of different sizes; each has one latent that says nothing."""
    random = np.random.default_rng(0)
    source = random.normal(size=(500, 4))
    codes = [source @ random.normal(size=(4, size)) + 0.3 * random.normal(size=(500, size)) for size in (4, 5, 4, 3)]
    kl = [np.where(np.arange(z.shape[1]) == i % 3, 0.01, 1.0) for i, z in enumerate(codes)]
    return codes, kl


def by_definition(codes, kl, similarity):
    standard = [(z - z.mean(axis=0)) / z.std(axis=0) * (each > 0.01) for z, each in zip(codes, kl)]
    found = []
    for i, one in enumerate(standard):
        scores = []
        for j, other in enumerate(standard):
            if i == j:
                continue
            if similarity == "lasso":
                r = np.abs(Lasso(alpha=0.1).fit(one, other).coef_).T
            else:
                pairs = [[spearmanr(a, b).statistic if a.any() and b.any() else 0 for b in other.T] for a in one.T]
                r = np.abs(pairs)
            r = r[kl[i] > 0.01][:, kl[j] > 0.01]
            with np.errstate(invalid="ignore"):
                by = [np.nan_to_num(r.max(axis=axis) ** 2 / r.sum(axis=axis)).mean() for axis in (0, 1)]
            scores.append(np.mean(by))
        found.append(np.median(scores))
    return found


@pytest.mark.parametrize("similarity", ["lasso", "spearman"])
def test_udr_by_its_definition(models, similarity):
    np.testing.assert_allclose(udr(*models, similarity), by_definition(*models, similarity), rtol=1e-6)


@pytest.mark.parametrize("similarity", ["lasso", "spearman"])
def test_models_that_agree_up_to_order_and_sign_score_high_and_mixtures_low(similarity):
    random = np.random.default_rng(0)
    source = random.normal(size=(2000, 5))
    kl = [np.ones(5)] * 4
    agree = [source[:, random.permutation(5)] * random.choice([-1, 1], 5) for _ in range(4)]
    mixed = [source @ np.linalg.qr(random.normal(size=(5, 5)))[0] for _ in range(4)]
    unlike = [random.normal(size=(2000, 5)) for _ in range(4)]
    assert udr(agree, kl, similarity).min() > 0.8
    assert udr(mixed, kl, similarity).max() < 0.6
    assert udr(unlike, kl, similarity).max() < 0.1


def test_latents_that_say_nothing_take_no_part(models):
    codes, kl = models
    changed = [np.where(each > 0.01, z, 17.0) for z, each in zip(codes, kl)]
    np.testing.assert_array_equal(udr(changed, kl), udr(codes, kl))
    dead = [np.zeros_like(each) for each in kl]
    np.testing.assert_array_equal(udr(codes, [dead[0], *kl[1:]])[0], 0)


def test_a_model_that_is_not_finite_is_left_out(models):
    codes, kl = models
    failed = np.full((500, 4), np.nan)
    found = udr([*codes, failed], [*kl, np.ones(4)])
    np.testing.assert_array_equal(found[:4], udr(codes, kl))
    assert np.isnan(found[4])


def test_one_model_has_nothing_to_agree_with(models):
    codes, kl = models
    assert np.isnan(udr(codes[:1], kl[:1])).all()
    assert udr([], []).shape == (0,)


def test_one_to_one_by_hand():
    assert one_to_one(np.eye(3)[:, [2, 0, 1]]) == 1
    assert one_to_one(np.full((2, 4), 0.5)) == pytest.approx((0.25 / 1 + 0.25 / 2) / 2)
    assert one_to_one(np.zeros((2, 3))) == 0


def test_what_does_not_fit_is_refused(models):
    codes, kl = models
    with pytest.raises(ValueError, match="kl must be of the 4 models"):
        udr(codes, kl[:3])
    with pytest.raises(ValueError, match=r"kl\[1\] must be of 5 latents, as codes\[1\], but has shape \[4\]"):
        udr(codes, [kl[0], kl[0], *kl[2:]])
    with pytest.raises(ValueError, match=r"codes\[1\] must be of the 500 images of codes\[0\], but are of 499"):
        udr([codes[0], codes[1][1:], *codes[2:]], kl)
    with pytest.raises(ValueError, match="similarity 'pearson' is not known; known: lasso, spearman"):
        udr(codes, kl, "pearson")
