"""What is held at once changes no number: the same draws, whatever the pieces are."""

import pytest
import torch
from shapes import shape_for
from torch.testing import assert_close

import models
from models import memory
from models.vlae import _by_jacobian

SHAPE = (1, 8, 8)
CASES = [
    *((name, {}) for name in models.names()),
    ("conjoint", {"posterior": "adversarial"}),
    ("vae", {"likelihood": "logistic"}),
    ("vae", {"likelihood": "gaussian", "sigma": "per_pixel", "logit": 0.05}),
    ("vae", {"prior": "vamp", "pseudo_inputs": 4}),
    ("vlae", {"likelihood": "bernoulli"}),
    ("vlae", {"network": "conv"}),
    ("savae", {"network": "conv", "likelihood": "bernoulli"}),
]


def test_as_many_are_taken_as_fit_and_one_at_least(monkeypatch):
    monkeypatch.setattr(memory, "AT_ONCE", 100)
    assert [memory.at_once(7, numbers) for numbers in (1, 14, 15, 100, 1000)] == [7, 7, 6, 1, 1]


@pytest.mark.parametrize(("name", "settings"), CASES)
@pytest.mark.parametrize("numbers", [1, 64, 300, 1000])  # an image has 64, or twice that in its likelihood
def test_pieces_change_neither_an_evaluation_nor_importance_weights(name, settings, numbers, monkeypatch):
    torch.manual_seed(0)
    shape = shape_for(name, SHAPE)
    model, x = (
        models.build(name, shape, **{"latent": 3, "hidden": 8, **settings}).double(),
        torch.rand(5, *shape).double(),
    )

    @torch.no_grad()
    def found() -> list[torch.Tensor]:
        torch.manual_seed(1)
        look = model.look(x)
        return [*look.elbo, look.codes, model.log_weights(x, 7), model.log_weights(x, 7, rows=10)]

    whole = found()
    monkeypatch.setattr(memory, "AT_ONCE", numbers)
    for ours, expected in zip(found(), whole):
        assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_no_decoder_is_given_more_than_the_bound_says(monkeypatch):
    model, seen = models.build("vae", SHAPE, latent=3, hidden=8, likelihood="logistic"), []
    model.decoder.register_forward_hook(lambda _, given, output: seen.append(output.numel()))
    monkeypatch.setattr(memory, "AT_ONCE", 1000)
    model.log_weights(torch.rand(5, *SHAPE), 20)
    with torch.no_grad():
        model.look(torch.rand(30, *SHAPE))
    assert sum(seen) == (5 * 20 + 30) * 128
    assert max(seen) <= 1000
    monkeypatch.setattr(memory, "AT_ONCE", 1)
    seen.clear()
    model.log_weights(torch.rand(2, *SHAPE), 3)
    assert seen == [128] * 6


def test_no_more_jacobians_are_held_than_the_bound_says(monkeypatch):
    model, seen = models.build("vlae", SHAPE, latent=3, network="conv"), []

    def watched(model, x, mu, outputs):
        seen.append(len(x))
        return _by_jacobian(model, x, mu, outputs)

    monkeypatch.setattr("models.vlae._by_jacobian", watched)
    monkeypatch.setattr(memory, "AT_ONCE", 3 * 64 * 4)
    with torch.no_grad():
        model.posterior(torch.rand(10, *SHAPE))
    assert seen == [4, 4, 2] * 5  # four updates, and the approximation itself
    seen.clear()
    model.posterior(torch.rand(10, *SHAPE), 0)
    assert seen == [4, 4, 2] * 4 + [10]  # the last has a gradient, which needs them all
