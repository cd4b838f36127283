"""Importance of hyperparameters, where it is known which one matters."""

import numpy as np
import optuna
import pytest

from analysis.figures import importance
from analysis.figures.importance import FORESTS, data, draw


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    """Two that add up, one with nine times the other's variance, and a choice that does nothing; one trial stopped."""

    def objective(trial: optuna.Trial) -> float:
        much, little = trial.suggest_float("much", 0, 1), trial.suggest_float("little", 0, 1)
        trial.suggest_categorical("nothing", ["a", "b"])
        return 3 * much + little

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=40)
    study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.PRUNED))
    return study


def test_shares_say_what_matters_and_how_sure_that_is(study, ax):
    found = data(study)
    assert found.names == ["much", "little", "nothing"]
    assert found.trials == 40
    assert found.shares.shape == (FORESTS, 3)
    assert found.shares.sum(1) == pytest.approx(1)
    assert found.shares.mean(0)[0] > 0.7
    assert found.shares.mean(0)[2] < 0.05
    draw(ax, found)
    assert [label.get_text() for label in ax.get_yticklabels()] == found.names
    assert [bar.get_width() for bar in ax.patches] == pytest.approx(found.shares.mean(0))
    assert ax.get_title() == f"Importance in 40 complete trials; lines: range over {FORESTS} forests"
    [ranges] = [each for each in ax.collections if len(each.get_segments()) == len(found.names)]
    ends = np.array(ranges.get_segments())[:, :, 0]
    np.testing.assert_allclose(ends.T, [found.shares.min(0), found.shares.max(0)], atol=1e-12)


def test_of_very_many_trials_each_forest_learns_from_its_own(study, ax, monkeypatch):
    whole = data(study)
    monkeypatch.setattr(importance, "MOST", 25)
    found = data(study)
    assert (found.trials, found.learnt) == (40, 25)
    assert found.names[0] == "much"
    assert found.shares.mean(0)[0] == pytest.approx(whole.shares.mean(0)[0], abs=0.15)
    assert found.shares.std(0).max() > whole.shares.std(0).max()
    draw(ax, found)
    assert ax.get_title() == f"Importance in 40 complete trials; lines: range over {FORESTS} forests of 25"
