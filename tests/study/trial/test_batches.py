"""Training keeps to itself, and its batches follow from the seed and the step."""

import numpy as np
import pytest
import torch
from shapes import every_model
from torch import Tensor
from trainings import identical, weights

from models.base import VAE
from study.trial.seeds import derived_seed
from study.trial.training import Training

some_models = every_model("model", "vae", "vsc", "savae", "factor", "avb", "conjoint")


# Randomness.


@some_models
def test_two_trainings_side_by_side_do_not_disturb_each_other(training, model):
    alone = [training(model, seed=seed) for seed in (1, 2)]
    for one in alone:
        one.advance(8)
        one.evaluate()
    beside = [training(model, seed=seed) for seed in (1, 2)]
    for steps in (3, 5):
        for one in beside:
            one.advance(steps)
            one.evaluate()
    for a, b in zip(alone, beside):
        assert identical(a.state_dict(), b.state_dict())
    assert not torch.equal(weights(beside[0]), weights(beside[1]))


@some_models
def test_the_global_random_state_is_neither_read_nor_moved(training, model):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = training(model)
    first.advance(3)
    first.evaluate()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    second = training(model)
    second.advance(3)
    assert identical(first.state_dict(), second.state_dict())


def test_seeds_differ_between_purposes_and_repeat():
    seeds = [derived_seed(seed, number) for seed in range(20) for number in range(20)]
    assert len(set(seeds)) == 400
    assert derived_seed(0, 7) == derived_seed(0, 7) != derived_seed(7, 0)


# Batches.


def ids(images: Tensor) -> list[int]:
    return (images[:, 0, 0, 0] * 255).round().int().tolist()


def epochs(training: Training, steps: int) -> list[list[int]]:
    drawn = [i for step in range(steps) for i in ids(training.images_of(step))]
    return [drawn[start : start + 50] for start in range(0, len(drawn), 50)]


@pytest.mark.parametrize(("batch", "steps"), [(16, 25), (50, 4), (49, 50), (120, 5)])
def test_each_image_is_seen_once_an_epoch(training, batch, steps):
    seen = epochs(training(batch=batch), steps)
    assert len(seen) == batch * steps / 50
    assert all(sorted(epoch) == list(range(50)) for epoch in seen)
    assert len({tuple(epoch) for epoch in seen}) == len(seen)


def test_a_batch_may_span_two_epochs(training):
    one = training(batch=16)
    spanning = ids(one.images_of(3))  # images 48 to 63
    assert len(spanning) == 16
    first, second = epochs(one, 7)[:2]
    assert spanning == first[48:] + second[:14]


def test_batches_follow_from_seed_and_step_alone(training):
    one, other = training(seed=4), training(seed=4)
    forwards = [one.images_of(step) for step in range(10)]
    one.advance(2)
    backwards = [other.images_of(step) for step in reversed(range(10))][::-1]
    assert identical(forwards, backwards)
    assert identical(forwards, [one.images_of(torch.tensor(step)) for step in range(10)])
    assert not identical(forwards, [training(seed=5).images_of(step) for step in range(10)])


def test_images_are_the_pixels_over_255(training, splits):
    images = training().images_of(0)
    assert images.dtype == torch.float32
    assert images.shape == (16, 1, 8, 8)
    expected = splits.train.images[ids(images)].astype(np.float32) / 255
    assert np.array_equal(images.numpy(), expected)


def test_a_model_of_independent_batches_gets_them_one_after_the_other(training, monkeypatch):
    monkeypatch.setattr(VAE, "batches", 2)
    seen = epochs(training(batch=16), 25)
    assert training(batch=16).images_of(0).shape == (32, 1, 8, 8)
    assert all(sorted(epoch) == list(range(50)) for epoch in seen)


def test_training_sees_the_batches_in_order(training, monkeypatch):
    seen, loss = [], VAE.loss
    monkeypatch.setattr(VAE, "loss", lambda self, x, step: (seen.append((step, x)), loss(self, x, step))[1])
    one = training()
    one.advance(3)
    one.advance(2)
    assert [step for step, _ in seen] == [0, 1, 2, 3, 4]
    assert identical([x for _, x in seen], [one.images_of(step) for step in range(5)])
