"""The beginning of a training, from frames."""

import math

import numpy as np
import pandas as pd
import pytest
from marks import legend

from analysis.figures.training_losses import STEPS, Line, data, draw

pytestmark = pytest.mark.filterwarnings("error")
NAN = math.nan


def test_losses_and_terms_of_one_trial_in_its_first_steps():
    train = pd.DataFrame(
        {
            "number": [1, 0, 1, 1],
            "step": [50, 0, 0, STEPS + 1],
            "loss_elbo": [90.0, 7.0, 100.0, 1.0],
            "loss_synergy": [NAN, NAN, 5.0, 1.0],
            "loss_else": [NAN] * 4,
        }
    )
    curves = pd.DataFrame(
        {"number": [1, 1, 0], "steps": [100, STEPS + 1, 100], "reconstruction": [-80.0, 0, 0], "kl": [9.0, 0, 0]}
    )
    losses, terms = data(train, curves, 1)
    assert [(line.name, line.steps.tolist(), line.values.tolist()) for line in losses] == [
        ("elbo", [0, 50], [100.0, 90.0]),
        ("synergy", [0], [5.0]),
    ]
    assert [(line.name, line.steps.tolist(), line.values.tolist()) for line in terms] == [
        ("-log p(x given z)", [100], [80.0]),
        ("KL", [100], [9.0]),
    ]


def test_the_scale_is_logarithmic_where_it_can_be_and_says_so(ax):
    line = Line("elbo", np.array([0, 1, 2]), np.array([100.0, 10.0, 1.0]))
    draw(ax, [line, line._replace(name="other")], "loss")
    assert (ax.get_yscale(), ax.get_ylabel()) == ("log", "nats / image, log scale")
    ax.legend()
    assert legend(ax) == ["elbo", "other"]


def test_a_first_loss_far_above_flattens_nothing(ax):
    values = np.array([1e5, *np.linspace(-10, -20, 30)])
    draw(ax, [Line("elbo", np.arange(31), values)], "loss")
    assert ax.get_yscale() == "linear"
    low, high = ax.get_ylim()
    assert -25 < low < -20
    assert -10 < high < 0
    assert [text.get_text() for text in ax.texts] == ["some lie above"]
