"""Confirmed numbers: every seed, and their spread."""

import math

import numpy as np
import pandas as pd
import pytest
from marks import written
from matplotlib.collections import PathCollection

from analysis.figures.confirmed import data, draw

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
    title = "Confirmed over fresh seeds; diamond: mean ± standard deviation"
    assert written(ax) == (title, "test ELBO [nats / image]", "")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["defaults", "trial-3", "trial-1"]
    dots = [part.get_offsets().tolist() for part in ax.collections if isinstance(part, PathCollection)]
    assert dots == [[[-10.0, 0.0], [-14.0, 0.0]], [[-20.0, 1.0]], []]
    diamonds = {bar.lines[0].get_xdata()[0]: bar.lines[2][0].get_segments()[0][:, 0] for bar in ax.containers}
    assert sorted(diamonds) == [-20, -12]  # none for the configuration whose every seed failed
    np.testing.assert_allclose(diamonds[-12], [-12 - math.sqrt(8), -12 + math.sqrt(8)])
    np.testing.assert_allclose(diamonds[-20], [-20, -20])
