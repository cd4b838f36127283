"""What other rungs would have cost, from a summary made by hand: a mark a setting."""

import math

import pandas as pd
import pytest
from matplotlib.axes import Axes

from analysis.figures import style
from analysis.figures.replayed import Point, data, draw, figure, looks

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def replayed() -> pd.DataFrame:
    """The full budget, two settings that stop, and one that finds no complete trial."""
    names = ("mode", "grace", "reduction", "steps_share", "best_lost", "regret")
    rows = [
        ("full", pd.NA, pd.NA, 1.0, 0.0, 0.0),
        ("stop", 10, 2, 0.5, 0.2, 1.0),
        ("stop", 20, 3, 0.6, 0.1, 0.5),
        ("promote", 10, 3, 0.3, 1.0, math.nan),
    ]
    frame = pd.DataFrame(rows, columns=names).assign(study="tiny", orders=50)
    for name in names[3:]:
        frame = frame.assign(**{f"{name}_low": frame[name] * 0.5, f"{name}_high": frame[name] * 1.5})
    return frame


def marks(ax: Axes) -> list[tuple[str, str]]:
    """Marker and colour of each setting's mark."""
    drawn = [line for line in ax.lines if line.get_marker() not in ("None", "*", "|") and len(line.get_xdata())]
    return [(line.get_marker(), line.get_color()) for line in drawn]


def test_a_point_is_a_setting_and_what_has_no_value_is_left_out(replayed):
    assert data(replayed, "best_lost") == [
        Point("stop", 10, 2, (0.5, 0.25, 0.75), pytest.approx((0.2, 0.1, 0.3))),
        Point("stop", 20, 3, pytest.approx((0.6, 0.3, 0.9)), pytest.approx((0.1, 0.05, 0.15))),
        Point("promote", 10, 3, pytest.approx((0.3, 0.15, 0.45)), (1.0, 0.5, 1.5)),
    ]
    assert [point.mode for point in data(replayed, "regret")] == ["stop", "stop"]


def test_colours_are_reductions_and_markers_first_rungs(replayed, ax):
    points = data(replayed, "best_lost")
    draw(ax, points, *looks(points))
    (blue, circle), (red, square) = style.run_style(0), style.run_style(1)
    assert marks(ax) == [(circle, blue), (square, red), (circle, red)]


def test_a_column_a_mode_and_two_rows_a_study(replayed):
    picture = figure([replayed, replayed.assign(study="other")], ["elbo", "elbo"])
    assert len(picture.axes) == 8
    assert [len(marks(ax)) for ax in picture.axes] == [2, 1, 2, 0] * 2
    assert [ax.get_ylabel() for ax in picture.axes[::2]] == [
        f"{name}\n{label}"
        for name in ("tiny", "other")
        for label in ("orders that lost the best", "regret [nats / image]")
    ]
    one = figure([replayed[replayed["mode"] != "promote"]], ["elbo"])
    assert len(one.axes) == 2
    title, bars = one.get_suptitle().splitlines()
    assert "tiny replayed in 50 orders" in title
    assert bars == "bars: the middle 90% of orders; of a share of orders, Wilson's 90% interval"
    assert [text.get_text() for text in one.legends[0].get_texts()] == [
        *("first rung 10", "first rung 20", "reduction 2", "reduction 3", "full budget"),
    ]
