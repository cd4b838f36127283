"""What was confirmed over the latent size: numbers found by hand, and the picture of one run and of two."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from marks import legend
from matplotlib.colors import to_hex

from analysis.figures.latent_sizes import by_size_alone, compare, data, draw, figure
from analysis.figures.style import BLUE, VERMILION

pytestmark = pytest.mark.filterwarnings("error")  # what matplotlib warns of is seen in the picture
NAN = math.nan


@pytest.fixture
def confirmed() -> pd.DataFrame:
    """The defaults, of 16 latents as trial 2 is, and three trials over two seeds, of which some failed."""
    return pd.DataFrame(
        {
            "configuration": ["defaults", "trial-2", "trial-0", "trial-1"] * 2,
            "repeat": [0] * 4 + [1] * 4,
            "params.latent": [16, 16, 8, 24] * 2,
            "params.lr": [1e-3] * 8,
            "metrics.elbo": [-100.0, -100.0, -120.0, NAN, -104.0, -104.0, NAN, NAN],
            "metrics.accuracy": [0.8, 0.8, 0.6, NAN, 0.9, 0.9, NAN, NAN],
        }
    )


def test_sizes_are_in_order_with_means_and_deviations_of_what_did_not_fail(confirmed):
    found = data(confirmed)
    assert found.sizes.tolist() == [8, 16]
    np.testing.assert_allclose(found.means, [-120, -102])
    np.testing.assert_allclose(found.deviations, [NAN, math.sqrt(8)])  # the defaults are not counted twice
    np.testing.assert_allclose(data(confirmed, "accuracy").means, [0.6, 0.85])


def test_it_is_for_runs_that_differ_in_the_size_alone(confirmed):
    assert by_size_alone(confirmed)
    assert not by_size_alone(confirmed.assign(**{"params.lr": np.arange(8) / 1000}))
    assert not by_size_alone(confirmed[confirmed["params.latent"] == 16])
    assert not by_size_alone(pd.DataFrame())


def test_each_run_is_a_line_with_bars(ax, confirmed):
    one = data(confirmed)
    draw(ax, [("vsc", one), ("vae", one._replace(means=one.means + 10))])
    lines = [bar.lines[0] for bar in ax.containers]
    assert [to_hex(line.get_color()).upper() for line in lines] == [BLUE, VERMILION]
    np.testing.assert_array_equal(lines[1].get_xdata(), [8, 16])
    np.testing.assert_allclose(lines[1].get_ydata(), [-110, -92])
    low, high = ax.containers[0].lines[2][0].get_segments()[1][:, 1]
    np.testing.assert_allclose((low, high), (-102 - math.sqrt(8), -102 + math.sqrt(8)))
    assert ax.get_ylabel() == "test ELBO [nats / image]"


def test_elbo_and_accuracy_stand_above_each_other_for_one_run_or_several(confirmed):
    def run(name: str, frame: pd.DataFrame) -> SimpleNamespace:
        return SimpleNamespace(confirmed=frame, measure="elbo", name=name, kind="a bound")

    above, below = compare([run("vsc", confirmed), run("vae", confirmed)]).axes
    assert legend(above) == ["vsc, n = 2", "vae, n = 2"]
    assert (above.get_ylabel(), below.get_ylabel()) == ("test ELBO [nats / image]", "test accuracy of a probe on codes")
    assert below.get_xlabel() == "latents"
    [alone] = figure(run("points", confirmed.assign(**{"metrics.accuracy": NAN}))).axes  # data without labels
    assert alone.get_xlabel() == "latents"
