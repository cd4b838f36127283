"""Training without Ray: every setting is handed where it belongs, and every loss is logged."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from trainings import EVERY_SETTING, SIZES, every_model, identical, weights

import models
from models.base import VAE, Update
from study.spec import StudySpec
from study.spec.settings import check_settings
from study.trial.training import Training


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


def test_gradients_may_be_divided_by_their_norm_each_tensors_by_its_own(training):
    free, normalised = first_gradients(training()), first_gradients(training(normalise_gradients=True))
    for key, gradient in free.items():
        torch.testing.assert_close(normalised[key], gradient / (gradient.norm() + 1e-7), rtol=1e-4, atol=1e-7)


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
        ("normalise_gradients", 1),
    ],
)
def test_a_setting_outside_its_domain_is_refused_with_what_it_got(key, value):
    ((named, message),) = check_settings({key: value})
    assert named == key
    assert message.endswith(f"got {value!r}")


def test_settings_inside_their_domains_are_taken():
    assert check_settings({**EVERY_SETTING, "normalise_gradients": True}) == []
    assert check_settings({**EVERY_SETTING, "grad_clip": None, "lr_pseudo_inputs": 1e-5, "betas": (0, 0.5)}) == []


def test_the_budget_reaches_the_models_schedules(training):
    one = training(steps=20, kl_warmup=0.5, beta=3.0)
    assert [float(one.model.beta(step, one.model.budget)) for step in (0, 5, 10, 19)] == pytest.approx([0, 1.5, 3, 3])


def test_epochs_are_steps_that_see_every_image_so_often(raw):
    spec = StudySpec(**raw(budget={"steps": None, "epochs": 2, "batch": 64}))
    assert spec.steps == 125  # mnist5k has 4000 training images


def test_epochs_are_not_rounded_up_one_by_one(raw, tmp_path):
    """Batches run on over an epoch's end: 4 images ten times are 40 images, one batch of 64."""
    np.savez(tmp_path / "four.npz", images=np.zeros((6, 8, 8), np.uint8), train=[0, 1, 2, 3], valid=[4], test=[5])
    given = {"dataset": "images", "dataset_options": {"path": str(tmp_path / "four.npz")}}
    for batch, steps in ((64, 1), (3, 14)):
        budget = {"steps": None, "epochs": 10, "batch": batch, "report_every": 1}
        assert StudySpec(**raw(**given, budget=budget)).steps == steps


@pytest.mark.parametrize("sigma", ["learned", "per_pixel", 0.3])
def test_statistics_are_those_of_the_training_images_in_the_unit_interval(small, splits, sigma):
    spec = small(likelihood="gaussian", sigma=sigma, fixed={"posterior": "gaussian", "prior": "standard"})
    one = Training(spec, {**SIZES, "lr": 1e-3}, splits, seed=0)
    mean = splits.train.images.mean(0) / 255
    np.testing.assert_allclose(one.model.likelihood_part.mean_image.numpy(), mean, rtol=1e-5)
    one.advance(2)
    assert math.isfinite(one.evaluate()["elbo"])


@every_model
def test_training_raises_the_validation_elbo(training, model):
    one = training(model, steps=60, lr=1e-2)
    before = one.evaluate()
    name = "elbo" if "elbo" in before else "reconstruction"
    one.advance(60)
    assert one.evaluate()[name] > before[name] + 0.5


def test_an_unknown_setting_is_refused(training):
    with pytest.raises(models.ModelError, match="vae: latnet: vae has no such hyperparameter"):
        training(latnet=3)


TRAINS = """
import sys
import imagesets, torch
from study.spec import StudySpec
from study.trial.training import Training

pins = {"hidden": 4, "latent": 2, "posterior": "gaussian", "prior": "standard"}
budget = {"steps": 2, "report_every": 2, "batch": 8}
spec = StudySpec(name="s", model="vae", dataset="mnist5k", fixed=pins, budget=budget, validation={"images": 8})
first, second = [Training(spec, spec.defaults(), imagesets.load("mnist5k"), seed=0) for _ in range(2)]
first.advance(1)
second.load_state_dict(first.state_dict())
second.advance(1)
second.evaluate()
assert not {"torch._dynamo", "sympy"} & set(sys.modules)
"""


@pytest.mark.long
def test_a_training_leaves_torchs_compiler_where_it_is(python, tmp_path):
    python("-c", TRAINS, cwd=tmp_path)


def test_adam_is_torchs_own(training):
    ours, theirs = training(weight_decay=0.1), training(weight_decay=0.1)
    theirs.optimisers = {
        name: torch.optim.Adam(optimiser.param_groups, fused=True) for name, optimiser in theirs.optimisers.items()
    }
    for one in (ours, theirs):
        one.advance(3)
    assert identical(ours.state_dict(), theirs.state_dict())
