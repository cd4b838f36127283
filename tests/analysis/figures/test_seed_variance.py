"""The seed's share of the variance: by hand, and over many draws of a model in which it is known."""

import numpy as np
import pandas as pd
import pytest

from analysis.figures.seed_variance import data, draw, seed_share

pytestmark = pytest.mark.filterwarnings("error")


def test_the_share_by_hand():
    share, low, high = seed_share([np.array([0.0, 2.0]), np.array([10.0, 12.0])])
    # Within: 2, of two degrees of freedom; between: 100, that is (100 - 2) / 2 = 49 of the configurations.
    assert share == pytest.approx(2 / 51)
    assert 0 < low < share < high <= 1


def test_extremes_and_what_has_no_share():
    assert seed_share([np.array([1.0, 1.0]), np.array([3.0, 3.0])])[0] == 0
    assert seed_share([np.array([1.0, 3.0]), np.array([3.0, 1.0])])[0] == 1
    assert seed_share([np.array([1.0, 1.0]), np.array([1.0, 1.0])]) is None
    assert seed_share([np.array([1.0, 2.0])]) is None


def test_the_interval_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    deviation, draws = 1.5, 1000  # of configurations, where that of seeds is 1
    truth = 1 / (1 + deviation**2)
    covered = 0
    for _ in range(draws):
        groups = list(random.normal(deviation * random.normal(size=(4, 1)), 1.0, (4, 5)))
        _, low, high = seed_share(groups)
        covered += low <= truth <= high
    assert abs(covered / draws - 0.95) < 4 * np.sqrt(0.95 * 0.05 / draws)


def test_measures_that_vary_have_a_bar_and_the_defaults_count_once(ax):
    confirmed = pd.DataFrame(
        {
            "configuration": ["defaults", "trial-1", "trial-2"] * 2,
            "metrics.elbo": [0.0, 0.0, 10.0, 2.0, 2.0, 12.0],  # trial 1 has drawn the defaults
            "metrics.kl": [1.0, 1.0, np.nan, 1.5, 1.5, 3.0],
            "metrics.zero_fraction": [0.0] * 6,
        }
    )
    [found] = data(confirmed)
    assert (found.measure, found.configurations, found.seeds) == ("elbo", 2, 2)
    assert found.share == pytest.approx(2 / 51)
    draw(ax, [found])
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([2 / 51, 49 / 51])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["ELBO"]
    assert data(pd.DataFrame()) == []
