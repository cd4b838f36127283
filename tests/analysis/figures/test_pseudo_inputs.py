"""Pseudo-inputs of either level, and their reconstructions."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import models
from analysis.figures.pseudo_inputs import SIDE, compare, data, figure, vamp_prior
from study.trial import snapshot


@pytest.mark.parametrize("name", ["vampprior", "hvae"])
def test_pseudo_inputs_stand_beside_what_is_made_of_them(name):
    model = models.build(name, (1, 8, 8), latent=4, hidden=8, pseudo_inputs=SIDE**2 + 1).eval()
    prior = vamp_prior(model)
    with torch.no_grad():
        prior.pseudo_inputs.uniform_(-0.5, 1.5)
    shown = data(model)
    assert shown.shape == (2, SIDE, SIDE, 1, 8, 8)
    u = prior.pseudo_inputs[: SIDE**2].clamp(0, 1)
    np.testing.assert_array_equal(shown[0].reshape(-1, 1, 8, 8), snapshot.pixels(u.detach()))
    np.testing.assert_array_equal(shown[1, 0, 1], snapshot.pixels(model.reconstruct(u.detach())[1]))


def test_few_fill_whole_rows_and_without_a_vampprior_there_are_none():
    few = models.build("vampprior", (1, 8, 8), latent=4, hidden=8, pseudo_inputs=SIDE + 2)
    assert data(few).shape[:3] == (2, 1, SIDE)
    assert data(models.build("vampprior", (1, 8, 8), latent=4, hidden=8, pseudo_inputs=3)).shape[:3] == (2, 1, 3)
    assert vamp_prior(models.build("vampprior", (1, 8, 8), latent=4, hidden=8, prior="standard")) is None


def test_several_runs_stand_below_each_other():
    def run(name: str, pseudo_inputs: int) -> SimpleNamespace:
        model = models.build("vampprior", (1, 8, 8), latent=2, hidden=8, pseudo_inputs=pseudo_inputs)
        return SimpleNamespace(best=SimpleNamespace(model=model), name=name, which=f"seed 1 of {name}")

    one, other = run("one", 40), run("other", 7)
    assert figure(one).get_suptitle() == "36 of 40 pseudo-inputs u of seed 1 of one"
    titles = [ax.get_title() for ax in compare([one, other]).axes]
    white = data(one.best.model)[0].max() / 255  # they are dark at first
    assert titles[0] == f"one: u, white is {white:.2f}"
    assert titles[1::2] == ["one: reconstruction of u", "other: reconstruction of u"]
    assert figure(one).axes[0].images[0].get_array()[2:-2, 2:-2].max() == 255
