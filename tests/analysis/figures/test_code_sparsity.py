"""Sparsity of codes: counts image by image, and what the prior says of them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from marks import legend, written

import imagesets
import models
from analysis.figures.code_sparsity import Codes, data, draw
from imagesets import Split
from study.trial.images import Images

pytestmark = pytest.mark.filterwarnings("error")  # what matplotlib warns of is seen in the picture


def test_codes_are_counted_image_by_image():
    counts = torch.arange(1100) % 5

    class Model:
        def __init__(self, **facts: float | None):
            self.prior_part, self.seen = SimpleNamespace(**facts), 0

        def codes(self, x: torch.Tensor) -> torch.Tensor:
            part = counts[self.seen : self.seen + len(x)]
            self.seen += len(x)
            return -0.1 * (torch.arange(8) < part[:, None])

    found = data(Model(non_zero_share=0.25), Images(Split(np.zeros((1100, 1, 2, 2), np.uint8))))
    np.testing.assert_array_equal(found.counts, counts.numpy())
    assert (found.latent, found.expected) == (8, 2.0)
    without = data(Model(non_zero_share=None), Images(Split(np.zeros((3, 1, 2, 2), np.uint8))))
    assert without.expected is None


def test_counts_of_a_real_model_are_those_of_its_codes(make):
    torch.manual_seed(0)
    model = models.build("vsc", (1, 28, 28), latent=6, hidden=8, alpha=0.5)
    images = imagesets.load("mnist5k").valid.images
    found = data(model, Images(Split(images)))
    with torch.no_grad():
        codes = model.codes(torch.from_numpy(images).float() / 255).numpy()
    np.testing.assert_array_equal(found.counts, (codes != 0).sum(1))
    assert (found.latent, found.expected) == (6, 3.0)


def test_bars_are_shares_of_images(ax):
    draw(ax, Codes(np.array([2, 2, 2, 5]), 9, 1.8))
    label = "coordinates that are not zero, of 9"
    assert written(ax) == ("How sparse the codes of 4 validation images are", label, "share of images")
    bars = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in ax.patches}
    assert bars == {2: 0.75, 3: 0.0, 4: 0.0, 5: 0.25}
    assert [line.get_xdata()[0] for line in ax.lines] == [2.75, 1.8]
    assert legend(ax) == ["mean 2.8", "prior's mean 1.8"]


def test_without_zeros_in_the_prior_there_is_no_line_for_it(ax):
    draw(ax, Codes(np.array([0, 1]), 1, None))
    assert legend(ax) == ["mean 0.5"]


@pytest.mark.parametrize(("prior", "expected"), [("spike_slab", 1.5), ("vamp", None)])
def test_what_the_prior_expects_is_asked_of_the_prior(prior, expected):
    """A VampPrior has no alpha, though the model that it is part of has that setting."""
    parts = {"posterior": "spike_slab", "prior": prior, "pseudo_inputs": 3}
    model = models.build("vae", (1, 4, 4), latent=5, hidden=8, alpha=0.3, **parts)
    found = data(model, Images(Split(np.zeros((3, 1, 4, 4), np.uint8))))
    assert (found.latent, found.expected) == (5, expected)
