"""Traversal: which values stand below the pictures, and where zero is."""

import numpy as np
import pytest

import models
from analysis.figures.traversal import Traversal, data, draw

pytestmark = pytest.mark.filterwarnings("error")  # what matplotlib warns of is seen in the picture


@pytest.fixture
def found() -> Traversal:
    values = np.array([[-1.0, 0.0, 1.0], [-1.0, 1.0, 3.0], [0.0, 0.5, 1.0], [0.5, 1.0, 1.5], [0.0, 0.0, 0.0]])
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 1, 20, 10), dtype=np.uint8)
    seen = {"traversal": pixels, "values": values, "coordinates": np.array([7, 2, 0, 5, 9])}
    return data(seen, models.build("vae", (1, 20, 10), hidden=8))


def test_zero_lies_at_its_frame_or_between_two(found):
    assert found.names == ["z 7", "z 2", "z 0", "z 5", "z 9"]
    assert found.zeros == [1.0, 0.5, 0.0, None, None]


def test_values_are_written_below_the_pictures_and_zero_is_marked_above(ax, found):
    draw(ax, found, "Title")
    assert ax.get_title() == "Title"
    gap = 7  # a third of the height and a little
    assert ax.images[0].get_array().shape == (5 * 27 + gap, 3 * 17 + gap, 3)
    words = [(text.get_text(), *text.get_position()) for text in ax.texts]
    assert len(words) == 15
    assert words[:3] == [("-1", 7 + 4.5, 27), ("0", 24 + 4.5, 27), ("1", 41 + 4.5, 27)]
    assert words[3] == ("-1", 7 + 4.5, 54)
    marks = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines]
    assert marks == [(24 + 4.5, 7 - 2), (7 + 4.5 + 8.5, 34 - 2), (7 + 4.5, 61 - 2)]


def test_a_pair_has_its_value_in_the_middle(ax, found):
    pixels = np.zeros((5, 3, 2, 1, 20, 10), np.uint8)
    draw(ax, found._replace(pixels=pixels), "Title")
    assert ax.texts[0].get_position() == (7 + 9.5, 27)
