"""LightGBM's trees against scikit-learn's, and the gaps and areas that other scores are made of against brute force."""

import builtins

import lightgbm
import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import mutual_info_score, roc_auc_score

import metrics
from metrics.boosting import boosted
from metrics.dci import DCI
from metrics.discretised import entropy, mutual_information
from metrics.explicitness import areas_under_curve


@pytest.mark.parametrize("classes", [2, 4])
def test_boosting_is_scikit_learns(classes):
    random = np.random.default_rng(0)
    codes = random.normal(size=(500, 5))
    signal = codes[:, 0] + 0.5 * np.abs(codes[:, 1]) + 0.3 * random.normal(size=500)
    y = np.digitize(signal, np.quantile(signal, np.arange(1, classes) / classes)) * 7
    train, test = codes[:300], codes[300:]
    theirs = GradientBoostingClassifier(random_state=0).fit(train, y[:300])
    importance, predicted = boosted(train, y[:300], test)
    np.testing.assert_allclose(importance, theirs.feature_importances_, atol=0.02)
    assert importance.sum() == pytest.approx(1)
    assert np.mean(predicted == theirs.predict(test)) > 0.95
    assert set(predicted) <= set(y)


def test_codes_that_a_tree_cannot_tell_apart_are_equally_important():
    random = np.random.default_rng(0)
    codes = random.normal(size=(200, 2))
    y = (codes[:, 0] > 0).astype(int)
    importance, _ = boosted(np.c_[codes, -3 * codes[:, 0]], y, codes[:1, [0, 1, 0]])
    np.testing.assert_allclose(importance, [0.5, 0, 0.5], atol=0.01)


def test_no_tree_has_a_split_where_no_latent_alone_tells_anything():
    codes = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]] * 10)
    importance, predicted = boosted(codes, (codes[:, 0] != codes[:, 1]).astype(int), codes)
    np.testing.assert_array_equal(importance, 0)
    assert len(set(predicted)) == 1


def test_threads_change_no_number(drawn):
    codes, factors = drawn("mixed", 200)
    assert metrics.dci(codes, factors, trees="lightgbm", threads=2) == metrics.dci(codes, factors, trees="lightgbm")


def test_the_three_numbers_have_names(drawn):
    found = metrics.dci(*drawn("perfect", 100), trees="lightgbm")
    disentanglement, completeness, informativeness = found
    assert found == DCI(disentanglement, completeness, informativeness)


def test_trees_that_are_not_known_are_refused(drawn):
    with pytest.raises(ValueError, match="trees 'forest' is not known; known: scikit-learn, lightgbm"):
        metrics.dci(*drawn("perfect", 60), trees="forest")


def test_no_call_of_lightgbm_changes_the_number_of_threads_under_another(monkeypatch, drawn):
    """A prediction that leaves the number open sets it to all cores, for boosters that are being built for one too."""
    said, predict = set(), lightgbm.Booster.predict

    def noted(self, *args, **settings):
        said.add(settings.get("num_threads"))
        return predict(self, *args, **settings)

    monkeypatch.setattr(lightgbm.Booster, "predict", noted)
    metrics.dci(*drawn("perfect", 100), trees="lightgbm")
    assert said == {1}


def test_lightgbm_is_asked_for_by_name_only(monkeypatch, drawn):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("lightgbm"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    codes, factors = drawn("perfect", 60, sizes=(2, 2))
    assert metrics.dci(codes, factors).informativeness == 1
    with pytest.raises(ModuleNotFoundError, match="lightgbm"):
        metrics.dci(codes, factors, trees="lightgbm")


def test_mutual_information_is_scikit_learns():
    random = np.random.default_rng(0)
    x, y = random.integers(0, 5, (300, 4)), random.integers(0, 3, (300, 2))
    y[:, 1] = x[:, 2] // 2
    expected = [[mutual_info_score(a, b) for b in y.T] for a in x.T]
    np.testing.assert_allclose(mutual_information(x, y), expected, atol=1e-12)
    np.testing.assert_allclose(entropy(y), [mutual_info_score(b, b) for b in y.T], atol=1e-12)
    assert (mutual_information(np.zeros_like(x), y) == 0).all()


def test_areas_under_the_curve_are_scikit_learns():
    random = np.random.default_rng(0)
    scores = random.integers(0, 6, (100, 3)) / 6  # with ties
    positive = np.eye(3, dtype=bool)[random.integers(0, 3, 100)]
    expected = np.mean([roc_auc_score(a, b) for a, b in zip(positive.T, scores.T)])
    assert areas_under_curve(scores, positive) == pytest.approx(expected, abs=1e-12)
    some = np.c_[positive, np.zeros(100, bool)]  # a class that the test lacks
    assert areas_under_curve(np.c_[scores, scores[:, 0]], some) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(areas_under_curve(scores, np.zeros((100, 3), bool)))
