"""ASHA's rungs, from frames: who went on and who was stopped."""

import math

import numpy as np
import pandas as pd
import pytest
from marks import ELBO, legend, trials

from analysis.figures.rungs import Rung, data, draw, lowest

pytestmark = pytest.mark.filterwarnings("error")
NAN = math.nan


def test_a_trial_was_stopped_at_the_rung_that_is_its_last_report():
    frame = trials(state=["COMPLETE", "PRUNED", "PRUNED", "FAIL"], steps=[40, 10, 20, 10])
    curves = pd.DataFrame(
        {
            "number": [0, 0, 0, 0, 1, 2, 2, 3],
            "steps": [10, 20, 30, 40, 10, 10, 20, 10],
            "elbo": [-9.0, -8.0, -7.0, -6.0, -20.0, -10.0, -11.0, NAN],
        }
    )
    found = data(curves, frame, [10, 20], 40)
    assert [(rung.step, rung.stopped.tolist()) for rung in found] == [(10, [-20.0]), (20, [-11.0]), (40, [])]
    np.testing.assert_array_equal(found[0].went_on, [-9.0, -10.0, NAN])
    assert [rung.went_on.tolist() for rung in found[1:]] == [[-8.0], [-6.0]]
    assert data(curves, frame, [], 40) == []
    assert [rung.step for rung in data(curves[curves.steps < 20], frame, [10, 20], 40)] == [10]


def test_stopped_trials_are_crosses_and_those_far_below_triangles(ax):
    values = np.array([-10.0, -10.5, -11.0, -10.2])
    draw(ax, [Rung(10, values, np.array([-11.2, -9000.0])), Rung(1000, values[:1], np.array([]))])
    assert [label.get_text() for label in ax.get_xticklabels()] == [
        "10 steps\n6 trials, 2 stopped",
        "1,000 steps\n1 trial",
    ]
    marks = {mark: sum(len(line.get_xdata()) for line in ax.lines if line.get_marker() == mark) for mark in "oxv"}
    assert marks == {"o": 5, "x": 1, "v": 1}
    assert ax.get_ylabel() == ELBO
    assert "triangles" in ax.get_title()
    [crosses] = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata()) == 4]
    assert len({*crosses.get_xdata()}) == 3  # near ones stand beside each other
    assert legend(ax) == ["went on, or complete", "stopped there"]


def test_what_is_far_below_the_others_of_its_rung_is_so_beside_other_rungs(ax):
    first, last = np.array([-200.0, -210.0, -205.0, -215.0, -390.0, -480.0]), np.array([-100.0, -90.0])
    assert lowest([first, last]) == -215
    assert lowest([np.array([NAN]), last]) == -100
    assert math.isnan(lowest([np.array([NAN])]))
    draw(ax, [Rung(10, last - 100, first), Rung(20, last, np.array([]))])
    assert ax.get_ylim()[0] > -260
    assert [text.get_text() for text in ax.texts] == [r"$\times$2"]
