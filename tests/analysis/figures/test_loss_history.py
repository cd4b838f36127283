"""Training beside validation, from frames."""

import numpy as np
import pandas as pd
from marks import legend

from analysis.figures.loss_history import data, draw


def test_training_is_the_mean_of_the_batches_since_the_report_before(ax):
    train = pd.DataFrame(
        {"number": [0] * 4 + [1], "step": [0, 9, 10, 29, 0], "loss_elbo": [100.0, 90.0, 80.0, 60.0, 1.0]}
    )
    curves = pd.DataFrame({"number": [0, 0, 0, 1], "steps": [20, 10, 30, 10], "elbo": [-85.0, -99.0, -70.0, 0.0]})
    found = data(train, curves, 0)
    assert found.steps.tolist() == [10, 20, 30]
    assert found.train.tolist() == [-95.0, -80.0, -60.0]
    assert found.valid.tolist() == [-99.0, -85.0, -70.0]
    gap = data(train[train.step != 10], curves, 0)
    assert np.isnan(gap.train[1])
    draw(ax, [("vae", found), ("vamp", gap)])
    assert legend(ax) == ["vae, training", "vae, validation", "vamp, training", "vamp, validation"]
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--"] * 2
    assert ax.lines[0].get_color() == ax.lines[1].get_color() != ax.lines[2].get_color()
