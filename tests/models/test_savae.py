"""What is the semi-amortised VAE's own: steps up the ELBO, image by image, and the gradient through them."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import models
from models.distributions import Gaussian

SHAPE = (1, 8, 8)
B, Z, K = 6, 4, 5

pytestmark = pytest.mark.usefixtures("float64")


def build(**settings):
    settings = {"latent": Z, "hidden": 12, "svi_steps": K, "svi_rate": 0.05, "init": "torch", **settings}
    return models.build("savae", SHAPE, **settings)


@pytest.fixture
def x(blobs) -> Tensor:
    return blobs(B).double()


def steps(path: list[Gaussian]) -> tuple[Tensor, Tensor]:
    """mu and log sigma^2 from step to step, each [K + 1, B, Z]."""
    return torch.stack([q.loc for q in path]), torch.stack([2 * q.scale.log() for q in path])


def bound(model, q: Gaussian, x: Tensor, draws: int = 400) -> Tensor:
    """The ELBO of q, the mean over draws, [B]."""
    with torch.no_grad():
        z = q.rsample(noise=torch.randn(draws, len(x), Z, generator=torch.Generator().manual_seed(3)))
        return (model.likelihood(z).log_prob(x) + model.prior().log_prob(z) - q.log_prob(z)).mean(0)


@pytest.mark.parametrize("training", [True, False])
def test_steps_do_not_depend_on_the_batch(training, x):
    model, noise = build(), torch.randn(K, B, Z)
    together = steps(model.posterior_part.refine(model, x, noise, training=training))
    for i in range(B):
        rows = slice(i, i + 1)
        alone = steps(model.posterior_part.refine(model, x[rows], noise[:, rows], training=training))
        for a, b in zip(alone, together):
            assert_close(a, b[:, rows], rtol=1e-11, atol=1e-12)


def test_an_image_has_one_posterior_alone_or_in_a_batch(x):
    model = build()
    together = model.posterior(x)
    for i in range(B):
        alone = model.posterior(x[i : i + 1])
        assert_close(alone.loc[0], together.loc[i], rtol=1e-11, atol=1e-12)
        assert_close(alone.scale[0], together.scale[i], rtol=1e-11, atol=1e-12)
    repeated = model.posterior(x[:1].expand(3, *SHAPE)).loc
    assert_close(repeated, repeated[:1].expand(3, Z), rtol=1e-12, atol=1e-12)


def test_the_exact_form_is_a_function_of_the_image_alone(x):
    model, before = build(), torch.get_rng_state()
    first = model.posterior(x).loc
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(77)
    other = build()  # its noise does not come from the seed either
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.posterior(x).loc, first)
    assert torch.equal(model.codes(x), first)


def test_training_draws_its_noise_afresh(x):
    model = build()
    assert not torch.equal(model.posterior(x, 0).loc, model.posterior(x, 0).loc)
    repeated = model.posterior(x[:1].expand(3, *SHAPE), 0).loc
    assert (repeated.std(0) > 0).all()  # for every image its own


@pytest.mark.parametrize("step", [None, 3])
def test_it_works_where_no_gradients_are_kept(step, x):
    model = build()
    torch.manual_seed(4)
    kept = model.posterior(x, step)
    torch.manual_seed(4)
    with torch.no_grad():
        q = model.posterior(x, step)
        assert not torch.is_grad_enabled()
    assert not q.loc.requires_grad
    assert_close(q.loc, kept.loc, rtol=1e-12, atol=1e-12)
    assert_close(q.scale, kept.scale, rtol=1e-12, atol=1e-12)
    assert all(p.grad is None for p in model.parameters())


def test_evaluation_leaves_no_gradients_and_no_graph(x):
    model = build()
    model.log_weights(x, 3)
    q = model.posterior(x)
    assert not q.loc.requires_grad
    assert not q.scale.requires_grad
    assert all(p.grad is None for p in model.parameters())


def linear(rate: float, clip: float | None = None):
    """A model whose decoder is linear, W z + b, with a noise of 0.7; and W^T W / 0.7^2 + I."""
    model = build(decoder_hidden=(), likelihood="gaussian", sigma=0.7, svi_rate=rate, svi_clip=clip)
    w = model.decoder[0].weight.detach()
    return model, w.T @ w / 0.49 + torch.eye(Z)


def test_with_a_quadratic_bound_the_steps_have_a_closed_form(x):
    rate = 0.03
    model, a = linear(rate)
    w, b = model.decoder[0].weight.detach(), model.decoder[0].bias.detach()
    mode = torch.linalg.solve(a, w.T @ (x.flatten(1) - b).T / 0.49).T
    mu, log_var = steps(model.posterior_part.refine(model, x, torch.zeros(K, B, Z), training=False))
    for k in range(K + 1):
        shrunk = torch.linalg.matrix_power(torch.eye(Z) - rate * a, k)
        assert_close(mu[k], mode + (mu[0] - mode) @ shrunk, rtol=1e-11, atol=1e-11)
        assert_close(log_var[k], log_var[0] + k * rate / 2, rtol=1e-11, atol=1e-11)
    assert (mu[-1] - mu[0]).abs().max() > 0.01


def test_with_noise_the_steps_are_those_by_hand(x):
    rate, noise = 0.03, torch.randn(K, B, Z)
    model, a = linear(rate)
    w, b = model.decoder[0].weight.detach(), model.decoder[0].bias.detach()
    pull = (x.flatten(1) - b) @ w / 0.49
    ours = steps(model.posterior_part.refine(model, x, noise, training=True))
    mu, log_var = (t[0].detach() for t in ours)
    for k, eps in enumerate(noise):
        sigma = (0.5 * log_var).exp()
        slope = pull - (mu + sigma * eps) @ a  # of log p(x, z) in z
        mu, log_var = mu + rate * slope, log_var + rate * (0.5 * sigma * eps * slope + 0.5)
        assert_close(ours[0][k + 1].detach(), mu, rtol=1e-11, atol=1e-11)
        assert_close(ours[1][k + 1].detach(), log_var, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_bound_rises_over_the_steps_on_average(likelihood, blobs):
    images = blobs(200).double()
    model = build(likelihood=likelihood, svi_rate=0.1)
    model.fit_statistics(images)
    path = model.posterior_part.refine(model, images, torch.randn(K, 200, Z), training=False)
    bounds_KB = torch.stack([bound(model, q, images) for q in path])
    assert (bounds_KB.mean(1).diff() > 0).all()
    assert (bounds_KB[-1] > bounds_KB[0]).double().mean() > 0.65  # a step follows one draw


@pytest.mark.parametrize("clip", [0.5, 5.0, None])
def test_clips_limit_each_half_of_each_images_gradient(clip):
    part = build(svi_clip=clip).posterior_part
    g = torch.randn(K, B, Z) * torch.logspace(-3, 3, B)[:, None]
    norms, clipped = g.norm(dim=-1), part._clipped(g)
    if clip is None:
        assert torch.equal(clipped, g)
        return
    assert_close(clipped.norm(dim=-1), norms.clamp(max=clip), rtol=1e-12, atol=0)
    assert_close(clipped / clipped.norm(dim=-1, keepdim=True), g / norms[..., None], rtol=1e-12, atol=1e-12)
    assert norms.min() < clip < norms.max()


def test_a_step_is_no_longer_than_rate_times_clip(x):
    rate, clip = 0.1, 0.3
    model = build(svi_rate=rate, svi_clip=clip, likelihood="gaussian", sigma=0.05)
    halves = steps(model.posterior_part.refine(model, x, torch.randn(K, B, Z), training=False))
    for half in halves:
        length = half.diff(dim=0).norm(dim=-1)
        assert (length <= rate * clip * (1 + 1e-10)).all()
        assert_close(length.max(), torch.tensor(rate * clip))


def test_a_gradient_of_nothing_is_clipped_to_nothing():
    assert_close(build().posterior_part._clipped(torch.zeros(B, Z)), torch.zeros(B, Z), rtol=0, atol=0)


def test_second_order_changes_gradients_and_no_values(x):
    model, noise = build(), torch.randn(K, B, Z)

    def value_and_gradients(second_order: bool) -> tuple[Tensor, dict[str, Tensor]]:
        model.posterior_part.second_order = second_order
        q = model.posterior_part.refine(model, x, noise, training=True)[-1]
        z = q.rsample(noise=noise[0])
        loss = -(model.likelihood(z).log_prob(x) + model.prior().log_prob(z) - q.log_prob(z)).mean()
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        return loss, {name: g for (name, _), g in zip(model.named_parameters(), gradients)}

    (loss, through), (same, around) = value_and_gradients(True), value_and_gradients(False)
    assert_close(loss, same, rtol=0, atol=0)
    for part in ("encoder", "posterior_part", "decoder"):
        assert any((through[k] - around[k]).abs().max() > 1e-6 for k in through if k.startswith(part))
        assert all(torch.isfinite(around[k]).all() for k in around)


def test_the_gradient_through_the_steps_is_the_difference_quotient(x):
    model, noise = build(), torch.randn(K, B, Z)

    def loss() -> Tensor:
        q = model.posterior_part.refine(model, x, noise, training=True)[-1]
        z = q.rsample(noise=noise[0])
        return -(model.likelihood(z).log_prob(x) + model.prior().log_prob(z) - q.log_prob(z)).mean()

    for parameter in (model.posterior_part.amortised.mu.bias, model.decoder[0].bias, model.decoder[2].bias):
        (gradient,) = torch.autograd.grad(loss(), parameter)
        h = 1e-6
        with torch.no_grad():
            parameter[0] += h
        above = loss().item()
        with torch.no_grad():
            parameter[0] -= 2 * h
        below = loss().item()
        with torch.no_grad():
            parameter[0] += h
        assert gradient[0].item() == pytest.approx((above - below) / (2 * h), rel=1e-5, abs=1e-8)


def test_the_refined_posterior_is_what_evaluation_weighs(x):
    model = build(svi_steps=20, svi_rate=0.1)
    start = model.posterior_part.amortised(model, x)
    assert (bound(model, model.posterior(x), x) - bound(model, start, x)).mean() > 0.1
    samples = 4000
    torch.manual_seed(1)
    log_w = model.log_weights(x, samples)
    standard_error = log_w.std(0) * math.sqrt(1 / samples + 1 / 400)
    assert ((log_w.mean(0) - bound(model, model.posterior(x), x)).abs() <= 4 * standard_error).all()
