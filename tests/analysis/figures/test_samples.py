"""Draws from the prior."""

import numpy as np
import torch

import models
from analysis.figures.samples import data


def test_draws_from_the_prior_are_the_same_at_each_call():
    model = models.build("vae", (1, 28, 28), latent=3, hidden=8)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = data(model, rows=2, columns=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    np.testing.assert_array_equal(data(model, rows=2, columns=3), first)
    assert (first.shape, first.dtype) == ((2, 3, 1, 28, 28), np.uint8)
    assert len({tile.tobytes() for tile in first.reshape(6, -1)}) == 6
