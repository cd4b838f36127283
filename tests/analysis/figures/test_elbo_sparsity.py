"""ELBO against sparsity: the front against brute force, and what is drawn against the axes."""

import math

import numpy as np
import pytest
from marks import ELBO, legend, trials, written

from analysis.figures.elbo_sparsity import data, draw, draw_compared

pytestmark = pytest.mark.filterwarnings("error")  # what matplotlib warns of is seen in the picture
NAN = math.nan


def front(sparsity: np.ndarray, elbo: np.ndarray) -> list[int]:
    """Those that no other trial beats: at least as good in both, better in one."""

    def beaten(i: int) -> bool:
        for j in range(len(elbo)):
            as_good = sparsity[j] >= sparsity[i] and elbo[j] >= elbo[i]
            if as_good and (sparsity[j] > sparsity[i] or elbo[j] > elbo[i]):
                return True
        return False

    return sorted((i for i in range(len(elbo)) if not beaten(i)), key=lambda i: sparsity[i])


@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_that_of_brute_force(seed):
    random = np.random.default_rng(seed)
    zeros, elbo = random.integers(0, 8, (2, 40)) / 8.0  # with ties
    found = data(trials(**{"metrics.zero_fraction": zeros, "metrics.elbo": elbo}))
    assert found.sparsity_measure == "zero_fraction"
    assert sorted(found.front) == sorted(front(zeros, elbo))
    assert (np.diff(found.sparsity[found.front]) >= 0).all()
    assert (np.diff(found.values[found.front]) <= 0).all()


def test_only_complete_trials_are_on_it():
    given = trials(
        state=["COMPLETE", "PRUNED", "COMPLETE"],
        **{"metrics.zero_fraction": [0.5, 0.9, 0.1], "metrics.elbo": [-3.0, -1.0, -2.0]},
    )
    found = data(given)
    assert list(zip(found.sparsity, found.values)) == [(0.5, -3.0), (0.1, -2.0)]
    assert found.front.tolist() == [1, 0]


def test_codes_without_exact_zeros_are_measured_by_hoyer():
    given = trials(**{"metrics.hoyer": [0.2, 0.6, 0.4], "metrics.elbo": [-2.0, -1.0, -3.0]})
    found = data(given)
    assert found.sparsity_measure == "hoyer"
    assert found.sparsity.tolist() == [0.2, 0.6, 0.4]
    assert found.front.tolist() == [1]
    pruned = given.assign(state=["COMPLETE", "COMPLETE", "PRUNED"], **{"metrics.zero_fraction": [0.0, 0.0, 0.9]})
    assert data(pruned).sparsity_measure == "hoyer"


def test_trials_whose_measure_is_not_defined_are_left_out():
    given = trials(**{"metrics.hoyer": [None, 0.4, NAN], "metrics.elbo": [-2.0, -1.0, -3.0]})
    found = data(given)
    assert (found.sparsity.tolist(), found.values.tolist(), found.front.tolist()) == ([0.4], [-1.0], [0])
    assert len(data(given.assign(**{"metrics.hoyer": None})).values) == 0


def test_it_is_drawn_with_its_front(ax):
    given = trials(**{"metrics.zero_fraction": [0.2, 0.6, 0.3, 0.1], "metrics.elbo": [-2.0, -3.0, -4.0, -90.0]})
    draw(ax, data(given))
    assert written(ax) == ("ELBO against sparsity", "share of exact zeros in codes", ELBO)
    assert legend(ax) == ["front: no trial is better in both", "complete trial", "far below the others"]
    assert ax.lines[0].get_drawstyle() == "steps-pre"  # up to the sparser of two trials its value is had
    assert list(zip(*ax.lines[0].get_data())) == [(0.2, -2.0), (0.6, -3.0)]
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), [(0.2, -2), (0.6, -3), (0.3, -4)])
    assert list(ax.lines[1].get_xdata()) == [0.1]
    assert ax.get_ylim()[0] > -90


def test_a_front_of_one_trial_is_no_line(ax):
    draw(ax, data(trials(**{"metrics.zero_fraction": [0.6, 0.2], "metrics.elbo": [-2.0, -3.0]})))
    assert len(ax.lines) == 0
    assert legend(ax) == ["complete trial"]


def test_the_measure_and_the_sparsity_may_be_named():
    given = trials(**{"metrics.kl": [3.0, 5.0], "metrics.hoyer": [0.4, 0.2], "metrics.zero_fraction": [0.1, 0.0]})
    found = data(given, "kl", "hoyer")
    assert (found.sparsity_measure, found.sparsity.tolist(), found.values.tolist()) == ("hoyer", [0.4, 0.2], [3, 5])
    assert found.front.tolist() == [1, 0]


def test_each_run_has_its_colour_and_its_front(ax):
    one = data(trials(**{"metrics.zero_fraction": [0.2, 0.6], "metrics.elbo": [-2.0, -3.0]}))
    other = data(trials(**{"metrics.zero_fraction": [0.1], "metrics.elbo": [-1.0]}))
    draw_compared(ax, [("one", one), ("other", other)])
    assert legend(ax) == ["one", "other"]
    assert [list(zip(*line.get_data())) for line in ax.lines] == [[(0.2, -2.0), (0.6, -3.0)]]  # of one trial, none
    assert [dots.get_offsets().tolist() for dots in ax.collections] == [[[0.2, -2], [0.6, -3]], [[0.1, -1]]]
