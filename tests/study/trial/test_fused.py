"""Trainings that are fused are what they would be alone."""

import pytest
import torch
from shapes import every_model, splits_for
from trainings import EVERY_SETTING, identical, sizes, weights

from models.base import VAE, Update
from study.trial.fused import Fused
from study.trial.training import NonFiniteLossError, Training

ALONE = {"savae": "element 0 of tensors does not require grad"}
"""Models that cannot be fused, and what torch says: `savae` takes gradients by torch.autograd within its loss."""


@pytest.fixture
def several(small, splits):
    """Makes trainings of a configuration on seeds of their own, in double precision, in which rounding is no excuse."""

    def make(model="vae", *, precision="full", double=True, binarise=None, seeds=(1, 2), **config) -> list[Training]:
        budget = {"steps": 20, "batch": 16, "log_every": 1, "report_every": None}
        spec = small(model, budget=budget, precision=precision, preprocessing={"binarise": binarise})
        settings, shown = {**sizes(model), "lr": 1e-3, **config}, splits_for(model, splits)
        made = [Training(spec, settings, shown, seed=seed) for seed in seeds]
        for training in made if double else ():
            training.model.double()
            training.images_of = lambda step, of=training.images_of: of(step).double()
        return made

    return make


def check_alike(together: list[Training], alone: list[Training]) -> None:
    """The random streams to the bit, and all else to ten digits."""
    for one, other in zip(together, alone, strict=True):
        ours, theirs = one.state_dict(), other.state_dict()
        assert identical(ours.pop("random"), theirs.pop("random"))
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-10)


@every_model("model", "vae", "vsc", "factor", "savae", "vlae")
def test_every_model_is_fused_or_says_why_not_and_is_trained_as_alone(several, model):
    """With gradients normalised and clipped, decay, a drop of the rate, and the images drawn anew at each step."""
    how = {**EVERY_SETTING, "normalise_gradients": True, "grad_clip": 0.5, "lr_drop": 0.2, "binarise": "dynamic"}
    how["hidden"] = [12, 12]  # of which vlae's Jacobian has a function of its own
    together, alone = several(model, **how), several(model, **how)
    why = Fused(together).obstacle()
    assert identical([one.state_dict() for one in together], [one.state_dict() for one in alone])
    if model in ALONE:
        assert ALONE[model] in why
        return
    assert why == ""
    for steps in (4, 3):
        found, expected = Fused(together).advance(steps), [one.advance(steps) for one in alone]
        for ours, theirs in zip(found, expected, strict=True):
            assert [entry.step for entry in ours] == [entry.step for entry in theirs]
            assert [entry.values for entry in ours] == [pytest.approx(entry.values, rel=1e-9) for entry in theirs]
    check_alike(together, alone)


@pytest.mark.parametrize("network", ["mlp", "conv", "gated"])
def test_in_single_precision_rounding_is_all_that_differs(several, network):
    """Adam divides a gradient by its own size, so that a weight whose gradient is mostly rounding moves by the rate
    either way: in 20 steps of 1e-3 by 0.04 at most. Few do; the median weight keeps five digits of its way.
    """
    together, alone = (several(double=False, network=network) for _ in range(2))
    found, expected = Fused(together).advance(20), [one.advance(20) for one in alone]
    for one, other, ours, theirs in zip(together, alone, found, expected, strict=True):
        difference = (weights(one) - weights(other)).abs()
        assert difference.max() < 0.04
        assert difference.median() < 2e-7
        assert [entry.values for entry in ours] == [pytest.approx(entry.values, rel=1e-5) for entry in theirs]
        assert identical(one.random.state, other.random.state)


def test_in_bfloat16_they_are_fused_too(several):
    assert Fused(several(double=False, precision="bf16")).obstacle() == ""


def test_one_whose_loss_is_no_number_fails_as_alone_and_the_others_go_on(several):
    together, alone = several(seeds=(1, 2, 3)), several(seeds=(1, 2, 3))
    for trainings in (together, alone):
        with torch.no_grad():
            trainings[1].model.decoder[-2].bias[0] = torch.nan
    first, failed, last = Fused(together).advance(4)
    with pytest.raises(NonFiniteLossError) as raised:
        alone[1].advance(4)
    assert isinstance(failed, NonFiniteLossError)
    assert (str(failed), failed.step) == (str(raised.value), 0)
    for ours, theirs in ((first, alone[0].advance(4)), (last, alone[2].advance(4))):
        assert [entry.values for entry in ours] == [pytest.approx(entry.values, rel=1e-9) for entry in theirs]
    check_alike(together[::2], alone[::2])


def test_where_the_loss_of_one_is_exactly_0_it_alone_stays_where_it_is(several, monkeypatch):
    """Now and then that of the one, now and then that of the other."""

    def at_times(self, x, step):
        return VAE.loss(self, x, step) * (x.mean() > threshold)

    monkeypatch.setattr(VAE, "updates", lambda self: [Update("model", "elbo", lambda *given: at_times(self, *given))])
    together, alone = several(weight_decay=0.1), several(weight_decay=0.1)
    threshold = torch.stack([one.images_of(step).mean() for one in alone for step in range(8)]).median()
    found = Fused(together).advance(8)
    zeros = [[entry.values["elbo"] == 0 for entry in one] for one in found]
    assert zeros == [[entry.values["elbo"] == 0 for entry in one.advance(8)] for one in alone]
    assert zeros[0] != zeros[1]
    check_alike(together, alone)


def ignored(z):
    noise = torch.empty_like(torch.zeros(z.shape))
    noise.normal_()
    return noise


@pytest.mark.parametrize(
    ("drawn", "why"),
    [
        (lambda z: torch.bernoulli(torch.full(z.shape, 0.5)), "random"),
        (ignored, "the loss of 'elbo' is nan"),
        (lambda z: torch.randn(z.shape, generator=torch.Generator().manual_seed(0)), "random"),
    ],
    ids=["another function", "in place", "another generator"],
)
def test_what_it_cannot_draw_for_each_is_no_number_and_told(several, monkeypatch, drawn, why):
    def loss(self, x, step):
        return VAE.loss(self, x, step) + drawn(self.posterior(x).loc).mean()

    monkeypatch.setattr(VAE, "updates", lambda self: [Update("model", "elbo", lambda *given: loss(self, *given))])
    assert why in Fused(several(double=False)).obstacle()


def test_they_must_stand_at_one_step(several):
    first, second = several()
    second.advance(1)
    with pytest.raises(ValueError, match=r"must stand at one step, got \[0, 1\]"):
        Fused([first, second]).advance(1)
