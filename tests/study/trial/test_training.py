"""Training without Ray: it resumes bit for bit, keeps to itself, and hands every setting where it belongs."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import models
from models.base import VAE, Update
from study.spec import StudySpec
from study.spec.settings import check_settings
from study.trial import checkpoint
from study.trial.training import NonFiniteLossError, Training, derived_seed

EVERY_SETTING = {"lr": 3e-3, "lr_drop": 0.5, "grad_clip": 5.0, "weight_decay": 1e-4, "betas": [0.8, 0.99]}
SIZES = {"latent": 4, "hidden": 12}

every_network = pytest.mark.parametrize("network", ["mlp", "conv"])
every_model = pytest.mark.parametrize("model", models.names())


def identical(a, b) -> bool:
    """The same structure and the same bits."""
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(identical(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(identical(x, y) for x, y in zip(a, b))
    return a == b or (a != a and b != b)


def weights(training: Training) -> Tensor:
    return torch.cat([p.detach().flatten() for p in training.model.parameters()])


@pytest.fixture
def training(small, splits):
    """Makes a training of the little images."""

    def make(model="vae", *, seed=1, steps=20, batch=16, log=1, **config) -> Training:
        spec = small(model, budget={"steps": steps, "batch": batch, "log_every": log, "report_every": None})
        return Training(spec, {**SIZES, "lr": 1e-3, **config}, splits, seed=seed)

    return make


# Resuming.

RESUME = """
import sys
from pathlib import Path

import torch

from imagesets import Split, Splits
from study.trial import checkpoint
from study.spec import StudySpec
from study.trial.training import Training

for path in sorted(Path(sys.argv[1]).glob("*.start")):
    torch.manual_seed(12345)
    given = checkpoint.load(path)
    splits = Splits(*(Split(images.numpy()) for images in given["images"]))
    training = Training(StudySpec(**given["spec"]), given["settings"], splits, seed=given["seed"])
    training.load_state_dict(given["training"])
    losses = training.advance(given["steps"])
    checkpoint.save(path.with_suffix(".end"), {
        "training": training.state_dict(),
        "losses": [[entry.step, entry.values] for entry in losses],
        "evaluation": training.evaluate(),
        "threads": torch.get_num_threads(),
    })
"""


@pytest.fixture(scope="module")
def resumed(small, splits, python, tmp_path_factory):
    """(model, network) -> how a training ended that went on in another process, and how the undisturbed one did."""
    folder, ends = tmp_path_factory.mktemp("resumed"), {}
    torch.set_num_threads(1)
    for model in models.names():
        for network in ("mlp", "conv"):
            spec = small(model, budget={"steps": 20, "batch": 16, "log_every": 2, "report_every": None})
            settings = {**EVERY_SETTING, **SIZES, "network": network}
            training = Training(spec, settings, splits, seed=3)
            training.advance(7)
            training.evaluate()
            start = {
                "spec": spec.model_dump(),
                "settings": settings,
                "seed": 3,
                "images": [torch.from_numpy(split.images) for split in splits],
                "training": training.state_dict(),
                "steps": 13,
            }
            checkpoint.save(folder / f"{model}-{network}.start", start)
            losses = training.advance(13)
            end = {
                "training": training.state_dict(),
                "losses": [[entry.step, entry.values] for entry in losses],
                "evaluation": training.evaluate(),
                "threads": 1,
            }
            ends[model, network] = folder / f"{model}-{network}.end", end
    python("-c", RESUME, str(folder))
    return {key: (checkpoint.load(path), end) for key, (path, end) in ends.items()}


@every_network
@every_model
@pytest.mark.parametrize("part", ["training", "losses", "evaluation", "threads"])
def test_a_run_resumed_in_another_process_equals_the_uninterrupted_one(resumed, model, network, part):
    other, here = resumed[model, network]
    assert identical(other[part], here[part])


@every_model
def test_the_checkpoint_holds_more_than_one_step(resumed, model):
    """Else the test above would compare two trainings that never went on."""
    _, end = resumed[model, "mlp"]
    assert end["training"]["step"] == 20
    assert [step for step, _ in end["losses"]] == [8, 10, 12, 14, 16, 18]


@every_model
def test_reports_and_evaluations_on_the_way_change_nothing(training, model):
    straight, halting = training(model, **EVERY_SETTING), training(model, **EVERY_SETTING)
    losses = straight.advance(20)
    found = []
    for steps in (1, 6, 3, 10):
        found += halting.advance(steps)
        halting.evaluate()
    assert losses == found
    assert identical(straight.state_dict(), halting.state_dict())


@pytest.mark.parametrize("at", [9, 10, 11])
def test_the_step_size_is_dropped_once_though_the_run_stops_around_it(training, at):
    first = training(**EVERY_SETTING)
    first.advance(at)
    second = training(**EVERY_SETTING)
    second.load_state_dict(first.state_dict())
    second.advance(20 - at)
    first.advance(20 - at)
    assert identical(first.state_dict(), second.state_dict())
    assert second.optimisers["model"].param_groups[0]["lr"] == pytest.approx(3e-4)


def test_the_number_of_threads_is_part_of_the_state(training):
    state = training().state_dict()
    assert state["threads"] == 1
    torch.set_num_threads(2)
    training().load_state_dict(state)
    assert torch.get_num_threads() == 1


# Randomness.


@every_model
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


@every_model
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


# Settings.


def first_gradients(training: Training) -> dict[int, Tensor]:
    """The gradients that Adam was given in the first step, from its first moment."""
    training.advance(1)
    found = {}
    for optimiser in training.optimisers.values():
        for group in optimiser.param_groups:
            for parameter in group["params"]:
                found[len(found)] = optimiser.state[parameter]["exp_avg"] / (1 - group["betas"][0])
    return found


def norm(tensors: dict[int, Tensor]) -> float:
    return math.sqrt(sum(float(t.double().square().sum()) for t in tensors.values()))


def test_grad_clip_bounds_the_norm_of_the_whole_gradient(training):
    free, clipped = first_gradients(training()), first_gradients(training(grad_clip=0.5))
    assert norm(free) > 1
    assert norm(clipped) == pytest.approx(0.5, rel=1e-4)
    ratio = norm(free) / 0.5
    for key in free:  # every parameter by the same factor
        torch.testing.assert_close(clipped[key] * ratio, free[key], rtol=1e-3, atol=1e-5)


def test_weight_decay_is_added_to_the_gradient(training):
    start = [p.detach().clone() for p in training().model.parameters()]
    free, decayed = first_gradients(training()), first_gradients(training(weight_decay=0.3))
    for key, parameter in enumerate(start):
        torch.testing.assert_close(decayed[key], free[key] + 0.3 * parameter, rtol=1e-4, atol=1e-5)


def test_betas_and_lr_reach_adam(training):
    (group,) = training(lr=7e-3, betas=[0.5, 0.75]).optimisers["model"].param_groups
    assert group["lr"] == 7e-3
    assert group["betas"] == (0.5, 0.75)


def test_the_first_step_is_as_long_as_lr_says(training):
    one = training(lr=7e-3)
    before = weights(one)
    one.advance(1)
    assert float((weights(one) - before).abs().max()) == pytest.approx(7e-3, rel=1e-3)  # Adam's first step: lr each


def rates(training: Training) -> list[float]:
    found = []
    for _ in range(20):
        training.advance(1)
        found.append(training.optimisers["model"].param_groups[0]["lr"])
    return found


@pytest.mark.parametrize(("lr_drop", "dropped_from"), [(0.5, 10), (0.0, 0), (0.51, 11), (1.0, 20)])
def test_lr_drop_is_the_share_of_the_budget_after_which_the_rate_is_a_tenth(training, lr_drop, dropped_from):
    expected = [1e-2] * dropped_from + [1e-3] * (20 - dropped_from)
    assert rates(training(lr=1e-2, lr_drop=lr_drop)) == pytest.approx(expected)


class Halves:
    """Two optimisers over a VAE's two networks, the encoder's rate of its own."""

    def parameter_groups(self):
        heads = [*self.encoder.parameters(), *self.posterior_part.parameters()]
        return {
            "decoder": {"lr": list(self.decoder.parameters())},
            "encoder": {"lr_encoder": heads},
        }

    def updates(self):
        return [
            Update("decoder", "nothing", lambda x, step: 0.0 * VAE.loss(self, x, step)),
            Update("encoder", "elbo", self.loss),
        ]


@pytest.fixture
def halves(monkeypatch):
    monkeypatch.setattr(VAE, "parameter_groups", Halves.parameter_groups)
    monkeypatch.setattr(VAE, "updates", Halves.updates)


def test_a_group_may_have_a_rate_and_an_optimiser_betas_of_its_own(training, halves):
    own = training(lr=1e-3, lr_encoder=5e-3, betas_encoder=[0.5, 0.9]).optimisers
    assert [own[name].param_groups[0]["lr"] for name in ("decoder", "encoder")] == [1e-3, 5e-3]
    assert [own[name].param_groups[0]["betas"] for name in ("decoder", "encoder")] == [(0.9, 0.999), (0.5, 0.9)]
    common = training(lr=1e-3).optimisers
    assert [common[name].param_groups[0]["lr"] for name in ("decoder", "encoder")] == [1e-3, 1e-3]


def test_each_loss_moves_its_own_optimisers_parameters_and_leaves_no_gradient_elsewhere(training, halves):
    one = training()
    decoder = [p.detach().clone() for p in one.model.decoder.parameters()]
    encoder = [p.detach().clone() for p in one.model.encoder.parameters()]
    (logged,) = one.advance(1)
    assert logged.values["nothing"] == 0 < logged.values["elbo"]
    assert identical(decoder, [p.detach() for p in one.model.decoder.parameters()])
    assert not any(p.grad.any() for p in one.model.decoder.parameters())
    assert not identical(encoder, [p.detach() for p in one.model.encoder.parameters()])


def test_losses_are_applied_one_after_the_other(training, halves, monkeypatch):
    """The second loss sees the weights that the first one moved."""
    seen = []

    def updates(self):
        def look(x, step):
            seen.append(self.decoder[0].weight.detach().clone())
            return VAE.loss(self, x, step)

        return [Update("decoder", "first", look), Update("encoder", "second", look)]

    monkeypatch.setattr(VAE, "updates", updates)
    training().advance(1)
    assert not torch.equal(*seen)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr", 0),
        ("lr", "1e-3"),
        ("lr", True),
        ("lr", math.nan),
        ("lr", math.inf),
        ("lr_encoder", -1.0),
        ("betas", 0.9),
        ("betas", [0.9]),
        ("betas", [0.9, 1.0]),
        ("betas_encoder", [0.9, -0.1]),
        ("weight_decay", -1e-3),
        ("grad_clip", 0),
        ("lr_drop", 1.5),
        ("lr_drop", None),
    ],
)
def test_a_setting_outside_its_domain_is_refused_with_what_it_got(key, value):
    ((named, message),) = check_settings({key: value})
    assert named == key
    assert message.endswith(f"got {value!r}")


def test_settings_inside_their_domains_are_taken():
    assert check_settings({**EVERY_SETTING, "grad_clip": None, "lr_pseudo_inputs": 1e-5, "betas": (0, 0.5)}) == []


def test_the_budget_reaches_the_models_schedules(training):
    one = training(steps=20, kl_warmup=0.5, beta=3.0)
    assert [float(one.model.beta(step, one.model.budget)) for step in (0, 5, 10, 19)] == pytest.approx([0, 1.5, 3, 3])


def test_epochs_are_steps_that_see_every_image_so_often(raw):
    spec = StudySpec(**raw(budget={"steps": None, "epochs": 2, "batch": 64}))
    assert spec.steps == 2 * 63  # mnist5k has 4000 training images


@pytest.mark.parametrize("sigma", ["learned", "per_pixel", 0.3])
def test_statistics_are_those_of_the_training_images_in_the_unit_interval(small, splits, sigma):
    spec = small(likelihood="gaussian", sigma=sigma, fixed={"posterior": "gaussian", "prior": "standard"})
    one = Training(spec, {**SIZES, "lr": 1e-3}, splits, seed=0)
    mean = splits.train.images.mean(0) / 255
    np.testing.assert_allclose(one.model.likelihood_part.mean_image.numpy(), mean, rtol=1e-5)
    one.advance(2)
    assert math.isfinite(one.evaluate()["elbo"])


# Losses.


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


@every_model
def test_training_raises_the_validation_elbo(training, model):
    one = training(model, steps=60, lr=1e-2)
    before = one.evaluate()["elbo"]
    one.advance(60)
    assert one.evaluate()["elbo"] > before + 0.5


def test_an_unknown_setting_is_refused(training):
    with pytest.raises(models.ModelError, match="vae: latnet: vae has no such hyperparameter"):
        training(latnet=3)
