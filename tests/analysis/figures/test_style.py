"""What figures share: sheets of pictures, and words on axes."""

import numpy as np
import pytest
from marks import ELBO, written

from analysis.figures import style
from study.spec.measures import METRICS

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


def test_every_measure_has_words():
    assert len({style.word(measure) for measure in METRICS}) == len(METRICS)
    assert style.label("elbo") == ELBO
    assert style.label("elbo", "test") == "test ELBO [nats / image]"
    assert style.label("hoyer") == "validation Hoyer sparsity of codes"
