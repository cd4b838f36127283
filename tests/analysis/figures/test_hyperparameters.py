"""Hyperparameters: what was drawn, and where it stands on the axes."""

import math

import numpy as np
import pytest
from marks import trials
from matplotlib.figure import Figure
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

import searchspaces
from analysis.figures.hyperparameters import Parameter, below, data, draw, draw_all, lowest

pytestmark = pytest.mark.filterwarnings("error")  # what matplotlib warns of is seen in the picture
NAN = math.nan


def test_parameters_are_what_was_drawn_in_the_order_of_the_space(make):
    given = trials(
        state=["COMPLETE", "PRUNED", "COMPLETE", "FAIL", "RUNNING"],
        **{
            "metrics.elbo": [-3.0, -1.0, -2.0, NAN, -1.0],
            "params.lr": [1e-3, 2e-3, 3e-3, 4e-3, NAN],
            "params.beta": [0.5, 1.0, 2.0, 4.0, 0.25],
            "params.hidden": [12] * 5,
        },
    )
    spec = make("vae")
    found = data(given, spec)
    assert [parameter.name for parameter in found] == ["beta", "lr"]  # kl_warmup has no column, hidden was pinned
    beta, lr = found
    assert lr.distribution == FloatDistribution(1e-4, 1e-2, log=True)
    np.testing.assert_array_equal(lr.values, [1e-3, 3e-3])
    np.testing.assert_array_equal(lr.measured, [-3, -2])
    np.testing.assert_array_equal(lr.stopped, [2e-3, 4e-3])
    np.testing.assert_array_equal(beta.values, [0.5, 2.0])
    np.testing.assert_array_equal(beta.stopped, [1.0, 4.0, 0.25])


def test_categories_are_parameters_too(make):
    given = trials(state=["COMPLETE", "PRUNED"], **{"params.gate": ["concrete", "sigmoid"]})
    [found] = data(given, make("vsc"))
    assert set(found.distribution.choices) == {"sigmoid", "concrete", "straight_through"}
    assert (list(found.values), list(found.stopped)) == (["concrete"], ["sigmoid"])


def test_nothing_drawn_is_no_parameter(make):
    given = trials(**{"params.lr": [1e-3, 1e-3]})
    assert data(given, make("vae", fixed=searchspaces.defaults("vae"))) == []


@pytest.mark.parametrize(
    ("distribution", "scale", "ticks", "labels"),
    [
        (FloatDistribution(1e-4, 1e-2, log=True), "log", [1e-4, 1e-3, 1e-2], ["0.0001", "0.001", "0.01"]),
        (FloatDistribution(0.0, 0.3), "linear", [0, 0.15, 0.3], ["0", "0.15", "0.3"]),
        (IntDistribution(2, 200, log=True), "log", [2, 20, 200], ["2", "20", "200"]),
        (IntDistribution(0, 1000), "linear", [0, 500, 1000], ["0", "500", "1000"]),
    ],
)
def test_numbers_are_drawn_over_their_whole_range(ax, distribution, scale, ticks, labels):
    low, high = distribution.low, distribution.high
    middle = math.sqrt(low * high) if distribution.log else (low + high) / 2
    draw(ax, Parameter("name", distribution, np.array([low, middle]), np.array([-2.0, -1.0]), np.array([high])))
    assert ax.get_xlabel() == ("name (log scale)" if distribution.log else "name")
    assert ax.get_xscale() == scale
    np.testing.assert_allclose(ax.get_xticks(), ticks)
    assert [label.get_text() for label in ax.get_xticklabels()] == labels
    left, right = ax.get_xlim()
    assert left < low < high < right
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [(low, -2), (middle, -1)])
    [marks] = ax.lines
    np.testing.assert_allclose(marks.get_xdata(), [high])
    assert marks.get_transform() == ax.get_xaxis_transform()  # they have no ELBO: they stand on the axis
    assert (marks.get_ydata() < 0.1).all()


def test_categories_are_drawn_side_by_side(ax):
    drawn = CategoricalDistribution(["sigmoid", "straight_through", "concrete"])
    values, stopped = np.array(["concrete", "sigmoid"], object), np.array(["straight_through"] * 2, object)
    draw(ax, Parameter("gate", drawn, values, np.array([-1.0, -2.0]), stopped))
    assert [label.get_text() for label in ax.get_xticklabels()] == ["sigmoid", "straight_\nthrough", "concrete"]
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), [(2, -1), (0, -2)])
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1, 1])
    assert ax.get_xlim() == (-0.5, 2.5)


def test_one_bad_trial_does_not_flatten_the_others_and_is_marked_at_the_edge():
    measured = np.array([-100.0, -104.0, -98.0, -5000.0, -101.0, NAN])
    lr = Parameter("lr", FloatDistribution(0, 1), np.linspace(0.1, 0.6, 6), measured, np.array([]))
    other = Parameter("beta", FloatDistribution(0, 1), lr.values[:3], measured[:3], np.array([]))
    assert lowest([lr, other]) == -104
    assert below([lr, other], -104) == 1
    assert (lowest([other]), below([other], -104)) == (-104, 0)
    figure = Figure()
    draw_all(figure, [lr, other])
    assert figure.get_suptitle().endswith("\ntriangles: 1 complete trial far below the others")
    first, second, _ = figure.axes
    assert -110 < first.get_ylim()[0] < -104
    assert second.get_ylim() == first.get_ylim()
    np.testing.assert_allclose(first.collections[0].get_offsets()[:, 1], [-100, -104, -98, -101])
    marks = {line.get_marker(): line for line in first.lines}
    np.testing.assert_allclose(marks["v"].get_xdata(), [0.4])
    assert marks["v"].get_transform() == first.get_xaxis_transform()
    assert "v" not in {line.get_marker() for line in second.lines}


def test_without_them_neither_triangles_nor_ticks_are_spoken_of():
    figure = Figure()
    draw_all(figure, [Parameter("lr", FloatDistribution(0, 1), np.ones(2), np.array([-1.0, NAN]), np.array([]))])
    assert figure.get_suptitle() == "ELBO of complete trials"


def test_a_parameter_without_stopped_trials_can_be_drawn(ax):
    nothing = np.array([])
    draw(ax, Parameter("lr", FloatDistribution(0, 1), np.array([0.5]), np.array([-1.0]), nothing))
    draw(ax, Parameter("lr", CategoricalDistribution([1, 2]), np.array([2]), np.array([-1.0]), nothing))
