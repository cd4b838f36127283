"""One contract for every model of the folder, on both networks, and for every pair of a posterior and a prior that
`vae` takes; a new model or pair is tested without a line here.

The golden losses, tests/models/losses, hold the first twenty steps of a model each, in text. They are never written by
a passing test: for a new model, or after a change that is meant to move them, run

    REWRITE_GOLDEN_LOSSES=1 python -m pytest tests/models/test_contract.py -k golden_losses

which writes those of every model and fails, read the difference, and say in the pull request why they moved.
"""

import inspect
import json
import os
from pathlib import Path

import pytest
import torch
from shapes import shape_for
from torch import Tensor
from torch.testing import assert_close
from waiting import Kernels

import models
from models import base
from models.avb import NoisyEncoder
from models.distributions import coordinates, unchecked
from models.latents import interpolate, kl_by_latent, sample_aggregated
from models.vae import pairs

SHAPE = (1, 8, 8)
B = 16
STEPS = 50
GOLDEN_LOSSES = Path(__file__).with_name("losses")
REWRITE = bool(os.environ.get("REWRITE_GOLDEN_LOSSES"))
RECORDED = models.names() if REWRITE else sorted(path.stem for path in GOLDEN_LOSSES.glob("*.json"))
PAPERS = {"disentangled", "factor", "householder", "hvae", "iaf", "nonsyn", "savae", "vae", "vampprior", "vlae", "vsc"}
PAPERS |= {"avb", "conjoint"}


# Models of the folder on both networks, and vae's other pairs of a posterior and a prior.
BUILDS = [(name, {"network": network}) for name in models.names() for network in ("mlp", "conv")]
BUILDS += [(name, {"network": network}) for name in ("vampprior", "hvae") for network in ("gated", "vamp_conv")]
BUILDS += [(name, {"prior": "standard"}) for name in ("vampprior", "hvae")]
BUILDS += [("conjoint", {"posterior": "adversarial"})]
BUILDS += [("avb", {"adaptive_contrast": False, "network": network}) for network in ("mlp", "conv")]
BUILDS += [
    ("vae", {"posterior": posterior, "prior": prior, "flow_hidden": 32})
    for posterior, priors in pairs().items()
    for prior in priors
    if (posterior, prior) != ("gaussian", "standard")
]


def build(name: str, network: str = "mlp", image_shape: tuple[int, int, int] = SHAPE, **settings):
    """A small model; of the settings, those that it has."""
    image_shape = shape_for(name, image_shape)
    small = {"latent": 4, "hidden": 32, "discriminator_hidden": 32, "pseudo_inputs": 10, "network": network}
    small |= {"noises": 4, "noise_hidden": 16, **settings}
    model = models.build(name, image_shape, **{k: v for k, v in small.items() if k in models.hyperparameters(name)})
    model.budget = STEPS
    return model


def optimisers(model, lr: float) -> dict[str, torch.optim.Optimizer]:
    groups = model.parameter_groups()
    return {name: torch.optim.Adam([{"params": p} for p in group.values()], lr) for name, group in groups.items()}


def train_step(model, adam: dict[str, torch.optim.Optimizer], x: Tensor, step: int) -> list[float]:
    """One pass through the updates, as training does it; returns them."""
    values = []
    for optimiser, _, loss in model.updates():
        adam[optimiser].zero_grad()
        value = loss(x, step)
        value.backward(inputs=[p for group in adam[optimiser].param_groups for p in group["params"]])
        adam[optimiser].step()
        values.append(float(value.detach()))
    return values


def log_lik(model, x: Tensor, draws: int = 20) -> float:
    """The reconstruction term in its exact form, mean over the images and some draws."""
    with torch.no_grad():
        return float(torch.stack([model.elbo(x).log_lik for _ in range(draws)]).mean())


@pytest.fixture(params=BUILDS, ids=lambda build: "-".join(str(part) for part in (build[0], *build[1].values())))
def model(request):
    torch.manual_seed(0)
    name, settings = request.param
    return build(name, **settings)


@pytest.fixture
def x(blobs, model) -> Tensor:
    return blobs(B, model.image_shape)


@pytest.fixture
def batch(blobs, model) -> Tensor:
    """What a training step takes: as many batches as the model asks for."""
    return blobs(B * model.batches, model.image_shape)


def test_shapes_of_the_three_distributions(model, x):
    for step in (None, 0):
        assert model.posterior(x, step).batch_shape == (B,)
    prior = model.prior()
    assert prior.batch_shape == ()
    assert prior.event_shape == model.posterior(x).event_shape
    z = prior.sample((3, B))
    likelihood = model.likelihood(z)
    assert (likelihood.batch_shape, likelihood.event_shape) == ((3, B), model.image_shape)
    assert likelihood.log_prob(x).shape == (3, B)


def test_elbo_is_two_finite_numbers_an_image(model, x):
    for step in (None, 0, torch.tensor(STEPS)):
        elbo = model.elbo(x, step)
        assert elbo.log_lik.shape == elbo.kl.shape == (B,)
        assert torch.isfinite(elbo.log_lik).all()
        assert torch.isfinite(elbo.kl).all()
    assert model.elbo(x, kl="sampled").kl.shape == (B,)


def test_codes_are_deterministic_and_depend_on_the_image(model, x):
    codes = model.codes(x)
    assert codes.shape[0] == B
    assert codes.ndim == 2
    assert torch.isfinite(codes).all()
    assert torch.equal(codes, model.codes(x))
    assert model.codes(x * torch.linspace(0.5, 1, B).reshape(B, *(1 for _ in model.image_shape))).ne(codes).any()


def test_an_image_has_the_same_codes_alone_and_in_a_batch(model, x):
    model, x = model.double(), x.double()
    alone = torch.cat([model.codes(image[None]) for image in x])
    assert_close(alone, model.codes(x), rtol=1e-9, atol=1e-9)


def test_images_lie_in_the_unit_interval(model, x):
    for images, n in ((model.sample(5), 5), (model.reconstruct(x), B), (model.decode(model.codes(x)), B)):
        assert images.shape == (n, *model.image_shape)
        assert images.min() >= 0
        assert images.max() <= 1


def test_what_is_for_scripts_has_a_gradient_only_where_it_is_asked_for(model, x):
    codes = model.codes(x)
    for use in (
        lambda **keywords: model.codes(x, **keywords),
        lambda **keywords: model.decode(codes, **keywords),
        lambda **keywords: model.sample(3, **keywords),
        lambda **keywords: model.reconstruct(x, **keywords),
    ):
        torch.manual_seed(1)
        without = use()
        without.numpy()  # raises where there is a gradient
        torch.manual_seed(1)
        with torch.no_grad():
            asked = use(grad=True)
        assert torch.equal(asked, without)
        assert asked.requires_grad or not model.look(x).codes.requires_grad  # refinement by steps ends it


def test_codes_are_those_that_an_evaluation_looks_at(model, x):
    torch.manual_seed(1)
    assert torch.equal(model.codes(x), model.look(x).codes)


def test_ways_between_images_and_draws_of_the_aggregated_posterior_are_images(model, x):
    assert interpolate(model, x[:2], x[2:4], 3).shape == (3, 2, *model.image_shape)
    assert model.decode(sample_aggregated(model, x, 7)).shape == (7, *model.image_shape)


def test_the_kls_of_the_latents_add_up_where_there_are_such(model, x):
    model, x = model.double(), x.double()
    q, p = model.posterior(x), model.prior()
    if coordinates(q) is None or coordinates(p) is None:
        with pytest.raises(models.ModelError, match="the KL has no share of each latent"):
            kl_by_latent(model, x)
        return
    torch.manual_seed(1)
    each = kl_by_latent(model, x)
    torch.manual_seed(1)
    assert each.shape == (B, *p.event_shape)
    assert_close(each.sum(1), model.elbo(x).kl.detach(), rtol=1e-10, atol=1e-10)


def test_log_weights_are_one_number_a_draw_and_image_whatever_the_chunks(model, x):
    model, x, whole = model.double(), x.double(), None
    for rows in (16384, 3 * B, 1):  # in one chunk, in three, one draw at a time
        torch.manual_seed(1)
        log_w = model.log_weights(x, 7, rows)
        assert log_w.shape == (7, B)
        assert torch.isfinite(log_w).all()
        assert not log_w.requires_grad
        assert log_w.std(0).min() > 0  # each its own draw
        whole = log_w if whole is None else whole
        assert_close(log_w, whole, rtol=1e-10, atol=1e-10)


def test_the_posterior_of_an_image_is_found_once_however_many_draws(model, x, monkeypatch):
    calls = []
    model.encoder.register_forward_hook(lambda module, inputs, output: calls.append(len(output)))
    monkeypatch.setattr(base, "DRAWN", 2 * B)
    model.log_weights(x, 20)  # in ten chunks
    if isinstance(model.encoder, NoisyEncoder):  # which is run for every draw that a proposal is fitted to
        before = list(calls)
        model.log_weights(x, 1)
        assert calls == 2 * before
        return
    assert calls in ([B], [B, 10])  # and the pseudo-inputs' once


def test_losses_are_finite_numbers_and_every_parameter_gets_a_gradient(model, batch):
    total = sum(loss(batch, 1) for _, _, loss in model.updates())
    assert total.shape == ()
    assert torch.isfinite(total)
    total.backward()
    without = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_nothing_in_a_loss_waits_for_the_device(model, batch):
    for _, _, loss in model.updates():
        with unchecked(), Kernels() as kernels:  # as a training does
            loss(batch, torch.tensor(3)).backward()
        assert not kernels.waiting


def test_that_the_host_waits_would_be_noticed():
    x = torch.arange(3.0)
    for wait in (lambda: bool(x.sum() > 0), lambda: float(x[0]), lambda: x[0].item(), lambda: x[x > 1], x.nonzero):
        with Kernels() as kernels:
            wait()
        assert kernels.waiting


def test_optimisers_partition_the_parameters(model):
    groups = model.parameter_groups()
    listed = [id(p) for group in groups.values() for parameters in group.values() for p in parameters]
    assert sorted(listed) == sorted(id(p) for p in model.parameters())
    assert set(groups) == {update.optimiser for update in model.updates()}


def test_fifty_steps_improve_the_reconstruction(model, batch):
    model.fit_statistics(batch)
    adam, before = optimisers(model, lr=1e-2), log_lik(model, batch)
    for step in range(STEPS):
        train_step(model, adam, batch, step)
    # 64 pixels start near 0.69 nats each, ln 2; the blobs' mean image alone reaches 0.42, perfect images 0.25.
    assert log_lik(model, batch) - before > 10


def test_the_same_seed_gives_the_same_loss(model, batch):
    def loss(seed: int) -> list[float]:
        torch.manual_seed(seed)
        rebuilt = models.build(model.name, model.image_shape, **model.hyperparameters)
        return [float(loss(batch, 3).detach()) for _, _, loss in rebuilt.updates()]

    assert loss(1) == loss(1)
    assert loss(1) != loss(2)


def test_steps_are_ints_or_tensors(model, batch):
    changing = {"kl_warmup": 0.5, "steepness_ramp": 0.5}
    known = models.hyperparameters(model.name)
    settings = {**model.hyperparameters, **{k: v for k, v in changing.items() if k in known}}
    annealed = models.build(model.name, model.image_shape, **settings)
    annealed.budget = STEPS

    def losses(step: int | Tensor) -> list[float]:
        torch.manual_seed(3)
        return [float(loss(batch, step).detach()) for _, _, loss in annealed.updates()]

    for step in (0, 7, STEPS, 10 * STEPS):
        assert losses(step) == losses(torch.tensor(step))
    assert losses(10 * STEPS) == losses(STEPS)  # nothing grows beyond the length of the training
    if set(changing) & set(known):
        assert losses(7) != losses(STEPS)


def test_double_precision(model, x):
    model, x = model.double(), x.double()
    elbo, log_w = model.elbo(x, 3), model.log_weights(x, 5)
    assert elbo.log_lik.dtype == elbo.kl.dtype == log_w.dtype == torch.float64
    assert model.codes(x).dtype == model.sample(2).dtype == torch.float64
    assert all(loss(torch.cat([x] * model.batches), 3).dtype == torch.float64 for _, _, loss in model.updates())


@pytest.mark.parametrize("shape", [(B, 1, 9, 9), (B, 2, 8, 8), (1, 8, 8)], ids=str)
def test_images_of_another_shape_are_refused(model, shape):
    for use in (model.posterior, model.elbo, model.codes, model.reconstruct, lambda x: model.log_weights(x, 2)):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is checked below
            use(torch.rand(shape))
        assert str([*model.image_shape]) in str(caught.value)
        assert str([*shape]) in str(caught.value)


def test_a_state_dict_restores_every_number(model, x):
    model.fit_statistics(x)
    torch.manual_seed(9)
    other = models.build(model.name, model.image_shape, **model.hyperparameters)
    other.load_state_dict(model.state_dict())

    def numbers(m) -> list[Tensor]:
        torch.manual_seed(4)
        return [*m.elbo(x), *m.elbo(x, 3), m.log_weights(x, 3), m.codes(x), m.sample(4), m.reconstruct(x)]

    assert all(torch.equal(a, b) for a, b in zip(numbers(other), numbers(model)))


@pytest.mark.parametrize("name", models.names())
def test_an_unknown_setting_is_refused_with_the_nearest_name(name):
    with pytest.raises(models.ModelError, match=r"no such hyperparameter.*Did you mean 'latent'\?"):
        models.build(name, shape_for(name), latnet=3)


@pytest.mark.parametrize("name", models.names())
def test_every_model_takes_what_all_take_and_has_defaults(name):
    defaults = models.hyperparameters(name)
    assert {"latent", "network", "hidden", "decoder_hidden", "likelihood", "init"} <= set(defaults)
    assert inspect.Parameter.empty not in defaults.values()
    assert models.check(name, defaults) == []  # the defaults lie in their own domains
    assert models.build(name, shape_for(name, (1, 28, 28))).hyperparameters == defaults


LIKELIHOODS = {
    "bernoulli": {"likelihood": "bernoulli"},
    "gaussian, learned": {"likelihood": "gaussian", "sigma": "learned"},
    "gaussian, a number": {"likelihood": "gaussian", "sigma": 0.3},
    "gaussian, of logits": {"likelihood": "gaussian", "logit": 0.05},
    "gaussian, per pixel": {"likelihood": "gaussian", "sigma": "per_pixel"},
    "logistic": {"likelihood": "logistic"},
    "logistic, closed edges": {"likelihood": "logistic", "edges": "closed"},
}
REFUSED = {  # and every other pair trains
    ("vlae", "gaussian, per pixel"),
    ("vlae", "logistic"),
    ("vlae", "logistic, closed edges"),
}


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("name", models.names())
def test_every_likelihood_trains_or_is_refused_with_the_reason(name, likelihood, blobs):
    if (name, likelihood) in REFUSED:
        with pytest.raises(models.ModelError, match=f"{name}: a Laplace posterior takes bernoulli pixels, or gaussian"):
            build(name, **LIKELIHOODS[likelihood])
        return
    model = build(name, **LIKELIHOODS[likelihood])
    x = blobs(B * model.batches, model.image_shape)
    model.fit_statistics(x)
    sum(loss(x, 1) for _, _, loss in model.updates()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    assert torch.isfinite(model.log_weights(x, 3)).all()


@pytest.mark.parametrize("name", models.names())
def test_the_weight_of_the_kl_warms_up(name):
    if {"beta", "kl_warmup"} <= set(models.hyperparameters(name)):
        beta = build(name, beta=2.0, kl_warmup=0.5).beta
        assert [float(beta(step, STEPS)) for step in (0, 5, STEPS // 2, STEPS)] == pytest.approx([0.0, 0.4, 2.0, 2.0])


@pytest.mark.parametrize("name", models.names())
def test_the_likelihood_gets_the_statistics_of_the_training_images(name, blobs):
    model = build(name, likelihood="gaussian", sigma=0.3)
    x = blobs(B, model.image_shape)
    model.fit_statistics(x)
    assert_close(model.likelihood_part.mean_image, x.mean(0))


@pytest.mark.parametrize("name", models.names())
def test_channels_and_oblong_images(name, blobs):
    shape = shape_for(name, (3, 12, 20))
    for network in ("mlp", "conv"):
        model, x = build(name, network, (3, 12, 20)), blobs(4, shape)
        assert model.elbo(x).log_lik.shape == (4,)
        assert model.reconstruct(x).shape == (4, *shape)


@pytest.mark.parametrize("name", RECORDED)
def test_golden_losses(name, blobs):
    torch.manual_seed(0)
    model = build(name, latent=3, hidden=16).double()
    model.budget = 20
    x = blobs(B * model.batches, model.image_shape).double()
    model.fit_statistics(x)
    adam = optimisers(model, lr=1e-3)
    losses = [train_step(model, adam, x, step) for step in range(20)]

    path = GOLDEN_LOSSES / f"{name}.json"
    if REWRITE:
        path.write_text(_as_text(losses), encoding="utf-8")
        pytest.fail(f"wrote {path}; read the difference and run without the variable")
    expected = torch.tensor(json.loads(path.read_text(encoding="utf-8")), dtype=torch.float64)
    # What machines do to the last digits of float64 stays far below 1e-6 in twenty steps.
    assert_close(torch.tensor(losses, dtype=torch.float64), expected, rtol=1e-6, atol=0)


def test_the_papers_models_have_golden_losses():
    assert set(RECORDED) >= PAPERS


def _as_text(losses: list[list[float]]) -> str:
    """One line a step, so that a difference shows where the losses part."""
    return "[\n" + ",\n".join(f"  {json.dumps(step)}" for step in losses) + "\n]\n"
