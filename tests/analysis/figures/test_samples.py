"""Draws from the prior, beside draws from the aggregated posterior."""

import numpy as np
import pytest
import torch

import models
from analysis.figures.samples import data
from imagesets import Split
from study.trial.images import Images


@pytest.fixture
def images() -> Images:
    return Images(Split(np.random.default_rng(0).integers(0, 256, (9, 1, 28, 28), dtype=np.uint8)))


def test_draws_are_the_same_at_each_call(images):
    model = models.build("vae", (1, 28, 28), latent=3, hidden=8)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = data(model, images, rows=2, columns=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    np.testing.assert_array_equal(data(model, images, rows=2, columns=3), first)
    assert (first.shape, first.dtype) == ((2, 2, 3, 1, 28, 28), np.uint8)
    assert len({tile.tobytes() for tile in first.reshape(12, -1)}) == 12


def test_the_aggregated_posterior_is_that_of_the_images(images):
    """A posterior at 30 of a prior around 0: each shows in what is decoded of it."""

    class Model(torch.nn.Module):
        def sample(self, n: int) -> torch.Tensor:
            return torch.zeros(n, 1, 28, 28)

        def posterior(self, x: torch.Tensor) -> torch.distributions.Normal:
            return torch.distributions.Normal(torch.full((len(x), 2), 30.0), 1.0)

        def decode(self, z: torch.Tensor) -> torch.Tensor:
            return (z.mean(1) > 20).float()[:, None, None, None].expand(-1, 1, 28, 28)

    model = Model()
    model.image_shape = (1, 28, 28)
    model.like = torch.nn.Parameter(torch.zeros(1))
    prior, aggregated = data(model, images)
    assert not prior.any()
    assert (aggregated == 255).all()
