"""Parallel coordinates: where values lie on their axes, and which line is on top."""

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from analysis.figures.parallel_coordinates import Coordinates, draw, place, ticks

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize(
    ("distribution", "values", "places", "words"),
    [
        (FloatDistribution(1e-4, 1e-2, log=True), [1e-4, 1e-3, 1e-2], [0, 0.5, 1], ["0.0001", "0.001", "0.01"]),
        (IntDistribution(2, 10), [2, 4], [0, 0.25], ["2", "6", "10"]),
        (CategoricalDistribution([None, "a", 3]), [3, None, "a"], [1, 0, 0.5], ["None", "a", "3"]),
        (IntDistribution(5, 5), [5], [0], ["5", "5", "5"]),
    ],
)
def test_an_axis_goes_from_the_lower_to_the_upper_end(distribution, values, places, words):
    kind = object if isinstance(distribution, CategoricalDistribution) else float
    np.testing.assert_allclose(place(np.array(values, kind), distribution), places)
    assert [word for _, word in ticks(distribution)] == words


def test_the_best_trial_is_drawn_last_and_one_far_below_does_not_take_all_colours(ax):
    measured = np.array([-9000.0, -12.0, -11.0, -10.5, -10.0])
    places = np.linspace(0, 1, 10).reshape(5, 2)
    places[1, 0] = np.nan  # not drawn in this trial
    draw(ax, Coordinates(["lr\n(log)", "beta"], places, [[(0.0, "1"), (1.0, "2")]] * 2, measured))
    lines = [line for line in ax.lines if len(line.get_xdata()) == 3]
    np.testing.assert_array_equal(lines[-1].get_ydata(), [*places[-1], 1.0])
    assert lines[-1].get_linewidth() > lines[0].get_linewidth()
    ends = [line.get_ydata()[-1] for line in lines]
    np.testing.assert_allclose(ends, [0, 0, 0.5, 0.75, 1])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["lr\n(log)", "beta", "ELBO"]
