"""What updates are worth, from frames."""

import numpy as np
import pandas as pd
from marks import legend

from analysis.figures.updates import Points, data, draw


def test_rows_with_both_are_points():
    frame = pd.DataFrame({"params.updates": [0, 4, np.nan, 1], "metrics.elbo": [-5.0, -3.0, -1.0, np.nan]})
    found = data(frame, "updates", "elbo", "validation")
    assert (found.updates.tolist(), found.values.tolist()) == ([0, 4], [-5.0, -3.0])
    assert len(data(frame, "svi_steps", "elbo", "validation").updates) == 0


def test_a_line_goes_through_the_means_with_their_spread_and_n(ax):
    points = Points("log_likelihood", "test", np.array([0, 4, 0, 4]), np.array([1.0, 4.0, 3.0, 4.0]))
    draw(ax, [("vlae", points), ("savae", points._replace(updates=np.array([0, 1, 0, 0])))])
    assert legend(ax) == ["vlae, n = 2", "savae, n = 1 to 3"]
    line, _, [bars] = ax.containers[0].lines
    assert line.get_xydata().tolist() == [[0, 2], [4, 4]]
    np.testing.assert_allclose(bars.get_segments()[0][:, 1], [2 - np.sqrt(2), 2 + np.sqrt(2)])
    assert ax.get_ylabel() == "test log p(x) [nats / image]"
