"""Where the time went, from a frame."""

import math

import pytest
from marks import trials

from analysis.figures import style
from analysis.figures.cost import data, draw

pytestmark = pytest.mark.filterwarnings("error")


def test_time_is_that_of_each_trial_and_of_all_that_ended_in_one_way():
    frame = trials(
        state=["PRUNED", "COMPLETE", "COMPLETE", "WAITING", "FAIL"],
        seconds=[5.0, 20.0, 25.0, math.nan, math.nan],
        steps=[100, 400, 500, 0, 0],
    )
    parts = data(frame)
    assert [(part.state, part.numbers.tolist(), part.seconds.tolist()) for part in parts] == [
        ("COMPLETE", [1, 2], [20.0, 25.0]),
        ("PRUNED", [0], [5.0]),
    ]
    parts[1] = parts[1]._replace(steps=parts[1].steps // 20)
    _, (left, right) = style.panels(2, 2, 2.0)
    draw((left, right), parts)
    assert [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in left.patches] == [
        (1, 20),
        (2, 25),
        (0, 5),
    ]
    assert [bar.get_width() for bar in right.patches] == [45, 5]
    assert [text.get_text() for text in right.texts] == [" 90%\n 20 steps / s", " 10%\n 1 step / s"]
    assert [label.get_text() for label in right.get_yticklabels()] == ["complete\n2 trials", "stopped early\n1 trial"]
