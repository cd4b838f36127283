"""What figures share: sheets of pictures, and words on axes."""

import math

import numpy as np
import pytest
from marks import ELBO, written

from analysis.figures import style
from study.spec.measures import METRICS

NAN = math.nan
pytestmark = pytest.mark.filterwarnings("error")  # what matplotlib warns of is seen in the picture


def test_pictures_are_tiles_and_rows_have_names(ax):
    tiles = np.random.default_rng(0).integers(0, 256, (2, 3, 1, 5, 4), dtype=np.uint8)
    style.draw_sheet(ax, tiles, "Title", ["upper", "lower"])
    [image] = ax.images
    assert image.get_array().shape == (2 * 7 + 2, 3 * 6 + 2, 3)
    np.testing.assert_array_equal(image.get_array()[9:14, 14:18, 0], tiles[1, 2, 0])
    assert written(ax) == ("Title", "", "")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["upper", "lower"]
    assert ax.get_yticks().tolist() == [2 + 2.5, 9 + 2.5]
    assert len(ax.get_xticks()) == 0


def test_a_pair_is_one_tile(ax):
    tiles = np.random.default_rng(0).integers(0, 256, (2, 3, 2, 1, 5, 4), dtype=np.uint8)
    style.draw_sheet(ax, tiles, "Title", ["upper", "lower"])
    [image] = ax.images
    assert image.get_array().shape == (2 * 7 + 2, 3 * 10 + 2, 3)
    np.testing.assert_array_equal(image.get_array()[9:14, 12:16, 0], tiles[1, 1, 0, 0])
    np.testing.assert_array_equal(image.get_array()[9:14, 16:20, 0], tiles[1, 1, 1, 0])
    assert ax.get_yticks().tolist() == [2 + 2.5, 9 + 2.5]


@pytest.mark.parametrize(
    ("values", "floor"),
    [
        ([-100.0, -101.0, -103.0], -103),
        ([-100.0, -101.0, -103.0, -5000.0], -103),
        ([-100.0, -101.0, -109.0, NAN], -109),  # eight deviations of 1 below the median, and no further
        ([-100.0, -101.0, -110.0], -101),
        ([-200.0] * 6 + [-100.0, -1000.0], -1000),  # no deviation, no far
        ([-201.0, -199.0, -200.0, -200.5, 5000.0], -201),  # the best is never far
        ([-1.0], -1),
    ],
)
def test_the_floor_is_the_smallest_value_that_would_not_flatten_the_others(values, floor):
    assert style.floor(np.array(values)) == floor


def test_without_values_there_is_no_floor(ax):
    nothing = np.array([NAN])
    assert math.isnan(style.floor(nothing))
    before = ax.get_ylim()
    style.limit(ax, nothing, NAN)
    assert ax.get_ylim() == before


def test_the_limits_leave_room_for_what_lies_below(ax):
    style.limit(ax, np.array([-10.0, 0.0]), -10.0)
    without = ax.get_ylim()
    style.limit(ax, np.array([-500.0, -10.0, 0.0]), -10.0)
    assert ax.get_ylim()[0] < without[0] < -10
    assert ax.get_ylim()[1] == without[1] > 0


def test_curves_that_leave_the_axis_are_told_of(ax):
    ax.set_ylim(-10, 0)
    style.say_below(ax, np.array([-10.0, NAN, 3.0]))
    assert not ax.texts
    style.say_below(ax, np.array([-11.0, -5.0]))
    assert [text.get_text() for text in ax.texts] == ["some values lie below"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (-2.345, "-2.3"), (-0.0012, "-0.0012"), (123.0, "120"), (9.99, "10")]
)
def test_numbers_where_there_is_little_room(value, text):
    assert style.short(value) == text


def test_every_measure_has_words():
    assert len({style.word(measure) for measure in METRICS}) == len(METRICS)
    assert style.label("elbo") == ELBO
    assert style.label("elbo", "test") == "test ELBO [nats / image]"
    assert style.label("hoyer") == "validation Hoyer sparsity of codes"
