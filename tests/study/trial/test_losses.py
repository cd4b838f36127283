"""Losses: when they are logged, and what becomes of one that is not finite."""

import math
import re

import pytest

import imagesets
from models.base import VAE, Update
from models.pathologies import Symptom
from study.spec import StudySpec
from study.trial.training import NonFiniteLossError
from study.trial.trial import Trial, cause


def test_losses_are_logged_at_every_multiple_of_log_every(training):
    one, each = training(log=4), training(log=1)
    found = [entry for steps in (3, 5, 1, 7) for entry in one.advance(steps)]
    assert [entry.step for entry in found] == [0, 4, 8, 12]
    every = each.advance(16)
    assert [entry.step for entry in every] == list(range(16))
    assert found == every[::4]
    assert one.advance(0) == []


def test_a_logged_loss_is_that_of_the_step_before_it_was_applied(training, monkeypatch):
    computed, loss = [], VAE.loss

    def watched(self, x, step):
        value = loss(self, x, step)
        computed.append(value.item())
        return value

    monkeypatch.setattr(VAE, "loss", watched)
    assert [entry.values["elbo"] for entry in training().advance(5)] == computed


def nan_from(step: int):
    loss = VAE.loss
    return lambda self, x, now: loss(self, x, now) * (math.nan if now >= step else 1.0)


def test_a_loss_that_is_not_finite_is_found_at_the_end_of_the_advance_and_its_step_named(training, monkeypatch):
    monkeypatch.setattr(VAE, "loss", nan_from(37))
    one = training(steps=100)
    one.advance(30)
    with pytest.raises(NonFiniteLossError, match="the loss of 'elbo' was not finite at step 37") as caught:
        one.advance(30)
    assert caught.value.step == 37
    assert one.step == 60


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_infinity_is_not_finite_either(training, monkeypatch, value):
    monkeypatch.setattr(VAE, "loss", lambda self, x, step: sum(p.sum() for p in self.parameters()) * 0 + value)
    with pytest.raises(NonFiniteLossError, match="at step 0"):
        training().advance(1)


def test_the_step_named_is_the_first_also_when_the_weights_explode(training):
    singly, at_once = training(lr=1e18, steps=50), training(lr=1e18, steps=50)
    with pytest.raises(NonFiniteLossError) as found:
        at_once.advance(50)
    for _ in range(found.value.step):
        singly.advance(1)
    with pytest.raises(NonFiniteLossError):
        singly.advance(1)


def test_of_several_losses_the_first_that_was_not_finite_is_named(training, halves, monkeypatch):
    def updates(self):
        return [
            Update("decoder", "first", lambda x, step: VAE.loss(self, x, step) * (math.nan if step >= 7 else 1)),
            Update("encoder", "second", lambda x, step: VAE.loss(self, x, step) * (math.nan if step == 5 else 1)),
        ]

    monkeypatch.setattr(VAE, "updates", updates)
    with pytest.raises(NonFiniteLossError, match="loss of 'second' was not finite at step 5"):
        training().advance(20)


def test_what_spoke_against_a_training_stands_in_the_cause(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(VAE, "loss", nan_from(37))
    monkeypatch.setattr(VAE, "symptoms", lambda self: [Symptom("negative", "elbo", 0.0, -1.0)])

    def trial() -> Trial:
        return Trial(StudySpec(**raw()), {"latent": 3}, imagesets.load("mnist5k"), seed=1, folder=tmp_path)

    first = trial()
    for _ in range(2):
        first.report()
    first.close()
    resumed = trial()  # whose first report is the one that the checkpoint holds
    for _ in range(2):
        resumed.report()
    with pytest.raises(NonFiniteLossError) as caught:
        resumed.report()
    resumed.close()
    said = cause(caught.value)
    assert re.fullmatch(
        r"nan: the loss of 'elbo' was not finite at step 37; before, negative: elbo -\d+\.?\d* below 0", said
    )
