"""Covariances of a posterior, from draws, beside the one that is known."""

import numpy as np
import torch

import models
from analysis.figures.posterior_covariances import data, draw
from imagesets import Split
from study.trial.images import Images


def test_it_is_the_laplace_posteriors_own(ax):
    torch.manual_seed(0)
    model = models.build("vlae", (1, 8, 8), latent=3, hidden=(8,), updates=1).eval()
    with torch.no_grad():
        for weight in model.decoder.parameters():
            weight.mul_(6)  # so that the latents go together
    images = Images(Split(np.random.default_rng(0).integers(0, 256, (2, 1, 8, 8), dtype=np.uint8)))
    known = model.posterior(next(images.batches(1))).covariance[0].detach().numpy()
    assert np.abs(np.triu(known, 1)).max() > 0.02
    deviations = np.sqrt(known.diagonal())
    error = 5 * np.sqrt(2 / 20_000) * np.outer(deviations, deviations)
    found = data(model, images)
    assert (np.abs(found - known) < error).all()
    draw(ax, found, 1.0, "Title")
    assert ax.images[0].get_clim() == (-1.0, 1.0)
    np.testing.assert_array_equal(ax.images[0].get_array(), found)
