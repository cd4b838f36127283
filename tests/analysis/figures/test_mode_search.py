"""The search for a mode: where it begins and ends, of both posteriors that have one."""

import numpy as np
import pytest
import torch

import models
from analysis.figures.mode_search import SHOWN, Search, data, draw, modes
from imagesets import Split
from study.trial.images import Images


@pytest.mark.parametrize(("name", "setting"), [("vlae", "updates"), ("savae", "svi_steps")])
def test_it_goes_from_the_encoder_to_the_posteriors_mode(name, setting):
    torch.manual_seed(0)
    model = models.build(name, (1, 8, 8), latent=3, hidden=(8,), **{setting: 2}).eval()
    images = Images(Split(np.random.default_rng(0).integers(0, 256, (10, 1, 8, 8), dtype=np.uint8)))
    x = next(images.batches(10))
    with torch.no_grad():
        found = modes(model, x)
    assert len(found) == 3
    torch.testing.assert_close(found[-1], model.codes(x))
    search = data(model, images)
    assert search.pixels.shape == (4, SHOWN, 1, 8, 8)
    errors = [(model.decode(mu) - x).square().sum((1, 2, 3)).mean().item() for mu in found]
    np.testing.assert_allclose(search.errors, errors, rtol=1e-5)


def test_rows_are_named_by_update_and_error(ax):
    draw(ax, Search(np.zeros((3, 8, 1, 4, 4), np.uint8), np.array([3.0, 2.5])), "Title")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["image", "encoder\n3.00", "update 1\n2.50"]
