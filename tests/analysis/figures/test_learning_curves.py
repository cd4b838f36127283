"""Learning curves: their data against numbers found by hand, what is drawn against the axes."""

import math

import numpy as np
import pandas as pd
import pytest
from marks import ELBO, legend, trials, written
from matplotlib.colors import to_hex

from analysis.figures.learning_curves import (
    BEST,
    MANY,
    Curve,
    band,
    best_complete,
    by_value,
    data,
    draw,
    draw_compared,
    last,
)
from analysis.figures.style import BLUE, GREY, VERMILION

pytestmark = pytest.mark.filterwarnings("error")  # what matplotlib warns of is seen in the picture
NAN = math.nan


def test_curves_are_in_order_and_the_best_complete_one_is_last():
    curves = pd.DataFrame(
        {
            "number": [2, 0, 1, 0, 2, 1, 0, 2],
            "steps": [20, 30, 10, 10, 10, 20, 20, 30],
            "elbo": [-7.0, -3.0, -9.0, -5.0, -8.0, -1.0, None, -2.0],
        }
    )
    given = trials(state=["COMPLETE", "PRUNED", "COMPLETE", "FAIL"], **{"metrics.elbo": [-2.0, -1.0, -3.0, NAN]})
    found = data(curves, given)
    assert [(curve.number, curve.state) for curve in found] == [(1, "PRUNED"), (2, "COMPLETE"), (0, "COMPLETE")]
    assert [curve.steps.tolist() for curve in found] == [[10, 20], [10, 20, 30], [10, 20, 30]]
    np.testing.assert_array_equal(found[0].values, [-9, -1])
    np.testing.assert_array_equal(found[1].values, [-8, -7, -2])
    np.testing.assert_array_equal(found[2].values, [-5, NAN, -3])
    assert found[2].values.dtype == float


def test_the_best_is_complete():
    assert best_complete(trials(state=["PRUNED", "COMPLETE"], **{"metrics.elbo": [-1.0, -50.0]})) == 1
    assert best_complete(trials(number=[7, 9, 8], **{"metrics.elbo": [-3.0, -2.0, -4.0]})) == 9
    assert best_complete(trials(state=["PRUNED", "FAIL"])) is None


@pytest.fixture
def curves() -> list[Curve]:
    ten = np.array([10, 20, 30])
    return [
        Curve(3, "PRUNED", ten[:1], np.array([-900.0])),
        Curve(1, "PRUNED", ten[:2], np.array([-200.0, -150.0])),
        Curve(4, "FAIL", ten[:2], np.array([-210.0, NAN])),
        Curve(0, "COMPLETE", ten, np.array([-180.0, -140.0, -120.0])),
        Curve(5, "COMPLETE", ten, np.array([-185.0, -145.0, -125.0])),
        Curve(2, "COMPLETE", ten, np.array([-170.0, -130.0, -110.0])),
    ]


def test_a_triangle_of_several_curves_says_of_how_many(ax, curves):
    low = [curve._replace(number=curve.number + 10) for curve in curves if curve.values[-1] < -250]
    draw(ax, [*curves, *low], [10], best_number=2)
    [edge] = [line for line in ax.lines if line.get_marker() == "v"]
    assert list(edge.get_xdata()) == [10]
    assert [text.get_text() for text in ax.texts if "times" in text.get_text()] == [r"$\times$2"]


def test_without_a_cross_none_is_spoken_of(ax, curves):
    draw(ax, [curve for curve in curves if curve.state != "PRUNED"], [10, 20], best_number=2)
    assert ax.get_title() == "Learning curves"


def test_learning_curves_are_drawn_as_what_they_are(ax, curves):
    draw(ax, curves, [10, 20], best_number=2)
    assert written(ax) == ("Learning curves; a cross marks where a trial was stopped", "optimiser steps", ELBO)
    assert legend(ax) == ["stopped early", "failed", "complete", "best, trial 2", "ends below", "rung"]
    lines = [line for line in ax.lines if line.get_marker() == "."]
    colours = [GREY, GREY, GREY, BLUE, BLUE, VERMILION]
    assert [to_hex(line.get_color()).upper() for line in lines] == colours
    for line, curve in zip(lines, curves):
        np.testing.assert_array_equal(line.get_xdata(), curve.steps)
        np.testing.assert_array_equal(line.get_ydata(), curve.values)
    crosses = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_marker() == "x"]
    assert crosses == [(20, -150)]
    [edge] = [line for line in ax.lines if line.get_marker() == "v"]
    assert list(edge.get_xdata()) == [10]
    assert edge.get_transform() == ax.get_xaxis_transform()
    rungs = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "None"]
    assert rungs == [10, 20]
    low, high = ax.get_ylim()
    assert high > -110
    assert -900 < low < -210  # one bad start does not flatten the others
    assert ax.get_xlim()[0] == 0


def test_every_stopped_trial_is_marked_where_its_last_value_is(ax, curves):
    """Also where its last report had none, and where a trial that was not stopped ends below the axis."""
    ten = np.array([10, 20])
    curves += [
        Curve(6, "PRUNED", ten, np.array([-160.0, NAN])),
        Curve(7, "PRUNED", ten[:1], np.array([NAN])),  # there is no place for it
        Curve(8, "COMPLETE", ten, np.array([-1000.0, -950.0])),
    ]
    assert [last(curve) for curve in curves[-3:-1]] == [(10, -160.0), (0, pytest.approx(NAN, nan_ok=True))]
    draw(ax, curves, [], best_number=2)
    crosses = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_marker() == "x"]
    assert [place for place in crosses if math.isfinite(place[1])] == [(20, -150), (10, -160)]
    edges = [(line.get_xdata()[0], to_hex(line.get_color()).upper()) for line in ax.lines if line.get_marker() == "v"]
    assert edges == [(10, "#000000"), (20, BLUE)]


@pytest.mark.parametrize("elbo", [[-120.0], [-120.0, -120.0], [-120.0, NAN]])
def test_a_single_curve_that_is_flat_can_be_drawn(ax, elbo):
    curve = Curve(0, "COMPLETE", np.arange(1, len(elbo) + 1) * 10, np.array(elbo))
    draw(ax, [curve], [], best_number=0)
    low, high = ax.get_ylim()
    assert low < -120 < high
    assert legend(ax) == ["best, trial 0"]


def test_curves_and_the_best_are_those_of_the_measure_that_is_asked_for():
    reports = pd.DataFrame({"number": [0, 1], "steps": [10, 10], "elbo": [-1.0, -2.0], "hoyer": [0.2, 0.7]})
    given = trials(**{"metrics.elbo": [-1.0, -2.0], "metrics.hoyer": [0.2, 0.7]})
    assert (best_complete(given), best_complete(given, "hoyer")) == (0, 1)
    found = data(reports, given, "hoyer")
    assert [(curve.number, curve.values.tolist()) for curve in found] == [(0, [0.2]), (1, [0.7])]
    assert best_complete(trials(**{"metrics.hoyer": [NAN, NAN]}), "hoyer") is None


def test_each_run_has_its_colour_and_its_best_trial_is_bold(ax, curves):
    draw_compared(ax, [("a", curves), ("b", curves[4:])])
    assert legend(ax) == ["a", "b"]
    bold = [line for line in ax.lines if line.get_linewidth() == 2]
    assert [line.get_marker() for line in bold] == ["o", "s"]
    assert [to_hex(line.get_color()).upper() for line in bold] == [BLUE, VERMILION]
    for line in bold:
        np.testing.assert_array_equal(line.get_ydata(), curves[-1].values)
    assert len(ax.lines) == 6 + 2


def test_the_values_of_a_setting_in_which_alone_trials_differ_are_told_apart(ax):
    reports = pd.DataFrame({"number": [0, 1, 2], "steps": 10, "elbo": [-1.0, -2.0, -3.0]})
    given = trials(
        **{"metrics.elbo": [-1.0, -2.0, -3.0], "params.prior": ["vamp", "standard", "vamp"], "params.top": 2}
    )
    found = by_value("one", reports, given, "elbo")
    assert [(name, [curve.number for curve in curves]) for name, curves in found] == [
        ("one, prior standard", [1]),
        ("one, prior vamp", [2, 0]),
    ]
    [(name, curves)] = by_value("one", reports, given.assign(**{"params.lr": [1e-3, 2e-3, 3e-3]}), "elbo")
    assert (name, len(curves)) == ("one", 3)
    draw_compared(ax, found)
    assert legend(ax) == ["one, prior standard", "one, prior vamp"]


@pytest.fixture
def many() -> list[Curve]:
    """Ten times as many as are lines: trial n has -n and is stopped at step 10 but for each tenth; the best is last."""
    ends = [(n, 20 if n % 10 == 0 else 10) for n in range(10 * MANY)]
    state = {10: "PRUNED", 20: "COMPLETE"}
    return [Curve(n, state[end], np.arange(10, end + 1, 10), np.full(end // 10, -float(n))) for n, end in ends[::-1]]


def test_bands_are_of_the_curves_that_have_a_value_there(many):
    found = band([*many, Curve(5, "FAIL", np.array([20]), np.array([NAN]))])
    assert found.steps.tolist() == [10, 20]
    assert found.counts.tolist() == [10 * MANY, MANY]
    at_10, at_20 = (
        np.quantile([-n for n in numbers], [0.05, 0.25, 0.5, 0.75, 0.95])
        for numbers in (range(1000), range(0, 1000, 10))
    )
    np.testing.assert_allclose(found.quantiles, np.transpose([at_10, at_20]))


def test_of_very_many_trials_bands_and_the_best_are_drawn(ax, many):
    draw(ax, many, [10], best_number=0)
    assert ax.get_title() == "Learning curves of 1,000 trials\nbands: of those that report, n = 1,000 to 100"
    assert legend(ax) == ["middle 90 %", "middle half", "median", "next best", "best, trial 0", "rung"]
    best = [line for line in ax.lines if line.get_label() == "next best" or line.get_zorder() > 3]
    assert [line.get_ydata()[-1] for line in best] == [-10 * n for n in range(BEST)][::-1]
    assert len(ax.lines) == 1 + BEST + 1
    assert ax.get_ylim()[0] < np.quantile([-n for n in range(1000)], 0.05) < 0 < ax.get_ylim()[1]


def test_of_runs_of_very_many_trials_bands_are_compared(ax, many, curves):
    draw_compared(ax, [("a", many), ("b", curves)])
    assert legend(ax) == ["a, n = 1,000", "b"]
    assert ax.get_title() == "Learning curves; bold: the best trial of each; bands: the middle 90 %"
    assert (len(ax.collections), len(ax.lines)) == (1, 1 + 6)
