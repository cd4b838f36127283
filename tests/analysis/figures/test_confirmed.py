"""Confirmed numbers: every seed, and their spread."""

import math

import numpy as np
import pandas as pd
import pytest
from marks import written
from matplotlib.collections import PathCollection

from analysis.figures.confirmed import APART, data, draw

pytestmark = pytest.mark.filterwarnings("error")  # what matplotlib warns of is seen in the picture
NAN = math.nan


def test_every_seed_is_a_dot_and_the_spread_stands_beside_it(ax):
    frame = pd.DataFrame(
        {
            "configuration": ["defaults", "trial-3", "trial-1", "defaults", "trial-3", "trial-1"],
            "metrics.elbo": [-10.0, -20.0, NAN, -14.0, NAN, NAN],
        }
    )
    draw(ax, data(frame))
    title = "Confirmed over n fresh seeds; diamond: mean ± standard deviation"
    assert written(ax) == (title, "test ELBO [nats / image]", "")
    labels = ["defaults\nn = 2", "trial-3\nn = 1, 1 failed", "trial-1\nn = 0, 2 failed"]
    assert [label.get_text() for label in ax.get_yticklabels()] == labels
    dots = [part.get_offsets().tolist() for part in ax.collections if isinstance(part, PathCollection)]
    assert dots == [[[-10.0, APART], [-14.0, 0.0]], [[-20.0, 1.0]], []]  # near ones do not hide each other
    diamonds = {bar.lines[0].get_xdata()[0]: bar.lines[2] for bar in ax.containers}
    assert sorted(diamonds) == [-20, -12]  # none for the configuration whose every seed failed
    [interval] = diamonds[-12][0].get_segments()
    np.testing.assert_allclose(interval[:, 0], [-12 - math.sqrt(8), -12 + math.sqrt(8)])
    assert diamonds[-20] == ()  # of one seed there is no spread
