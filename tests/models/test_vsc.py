"""What is Variational Sparse Coding's own: its gate, its sparsity, its schedule, and the VAE that it reduces to."""

import math

import pytest
import torch
from torch.testing import assert_close

import models

SHAPE = (1, 8, 8)


def build(**settings):
    return models.build("vsc", SHAPE, **{"latent": 6, "hidden": 16, **settings}).double()


def silent(model):
    """The model with all heads of its posterior at 0, whatever the image."""
    for parameter in model.posterior_part.parameters():
        torch.nn.init.zeros_(parameter)
    return model


def test_with_certain_slabs_it_is_the_vae():
    settings = {"latent": 6, "hidden": (16, 12), "likelihood": "gaussian"}
    vae = models.build("vae", SHAPE, **settings).double()
    vsc = models.build("vsc", SHAPE, alpha=1 - 2**-52, **settings).double()
    missing = vsc.load_state_dict(vae.state_dict(), strict=False)
    assert (missing.missing_keys, missing.unexpected_keys) == (["posterior_part.v.weight", "posterior_part.v.bias"], [])
    torch.nn.init.zeros_(vsc.posterior_part.v.weight)
    torch.nn.init.constant_(vsc.posterior_part.v.bias, 40.0)  # 1 - gamma = 4e-18

    x, eps, eta = torch.rand(5, *SHAPE).double(), torch.randn(5, 6).double(), torch.rand(5, 6).double()
    ours, theirs = vsc.elbo(x, noise=(eps, eta)), vae.elbo(x, noise=eps)
    assert_close(ours.log_lik, theirs.log_lik, rtol=1e-12, atol=1e-12)
    assert_close(ours.kl, theirs.kl, rtol=1e-12, atol=1e-12)

    ours_by_weight, theirs_by_weight = (
        torch.autograd.grad((e.kl - e.log_lik).sum(), [p for key, p in m.named_parameters() if ".v." not in key])
        for e, m in ((ours, vsc), (theirs, vae))
    )
    assert_close(ours_by_weight, theirs_by_weight, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.01, 0.3])
def test_prior_draws_have_the_share_alpha_of_non_zero_coordinates(alpha):
    n, prior = 50_000, build(alpha=alpha).prior()
    off = (prior.sample((n,)) == 0).double().mean()
    # 4 standard errors: a false alarm in 16,000 streams of random numbers
    assert abs(float(off) - (1 - alpha)) <= 4 * math.sqrt(alpha * (1 - alpha) / (6 * n))
    assert_close(prior.probs, torch.full((6,), alpha).double(), rtol=1e-6, atol=0)


def test_alpha_survives_a_cast_from_float32():
    assert_close(build(alpha=0.01).prior().probs, torch.full((6,), 0.01, dtype=torch.float64), rtol=1e-14, atol=0)


def test_posterior_draws_are_exactly_zero_as_often_as_gamma_says():
    n, model = 5_000, build()
    torch.nn.init.normal_(model.posterior_part.v.weight, std=2.0)  # gammas of all sizes
    q = model.posterior(torch.rand(20, *SHAPE).double())
    assert q.probs.min() < 0.2
    assert q.probs.max() > 0.8
    off = (q.sample((n,)) == 0).double().mean()
    standard_error = (q.probs * (1 - q.probs)).sum().sqrt() / (q.probs.numel() * math.sqrt(n))
    assert (off - (1 - q.probs.mean())).abs() <= 4 * standard_error


def test_codes_are_mu_where_the_slab_is_likelier_and_else_exactly_zero():
    model, x = build(), torch.rand(20, *SHAPE).double()
    torch.nn.init.normal_(model.posterior_part.v.weight, std=2.0)
    q, codes = model.posterior(x), model.codes(x)
    on = q.probs >= 0.5
    assert 0 < on.double().mean() < 1
    assert torch.equal(codes[on], q.loc[on])
    assert (codes[~on] == 0).all()
    assert_close(q.mean, q.probs * q.loc, rtol=0, atol=0)


def test_steepness_reaches_its_end_at_the_configured_step_and_evaluation_has_none():
    model = build(steepness=50.0, steepness_final=200.0, steepness_ramp=0.4)
    model.budget, x = 1000, torch.rand(2, *SHAPE).double()
    assert [float(model.posterior(x, step).steepness) for step in (0, 200, 400, 1000)] == [50.0, 125.0, 200.0, 200.0]
    assert model.posterior(x).steepness is None


@pytest.mark.parametrize("gate", ["sigmoid", "concrete", "straight_through"])
def test_the_gate_is_relaxed_as_asked(gate):
    model, x = build(gate=gate), torch.rand(50, *SHAPE).double()
    z = model.posterior(x, 0).rsample()
    assert model.posterior(x, 0).relaxation == gate
    assert bool((z == 0).any()) == (gate == "straight_through")
    assert (model.posterior(x).rsample() == 0).any()


@pytest.mark.parametrize("gamma_param", ["sigmoid", "neg_relu"])
@pytest.mark.parametrize("gamma_init", [0.03, 0.5, 0.9])
def test_gamma_starts_where_asked(gamma_param, gamma_init):
    model = build(gamma_param=gamma_param, gamma_init=gamma_init)
    torch.nn.init.zeros_(model.posterior_part.v.weight)
    gamma = model.posterior(torch.rand(3, *SHAPE).double()).probs
    assert_close(gamma, torch.full((3, 6), gamma_init).double(), rtol=1e-6, atol=0)  # the bias was set in float32


@pytest.mark.parametrize(("gamma_param", "gamma"), [("sigmoid", 0.5), ("neg_relu", 1.0)])
def test_gamma_may_be_left_to_the_layer(gamma_param, gamma):
    q = silent(build(gamma_param=gamma_param, gamma_init=None)).posterior(torch.rand(3, *SHAPE).double())
    assert_close(q.probs, torch.full((3, 6), gamma).double())


@pytest.mark.parametrize("v", [-8.0, -1.0, 0.7, 8.0])
def test_the_gamma_head_gets_a_gradient_wherever_it_stands_but_for_the_papers_dead_zone(v):
    x = torch.rand(3, *SHAPE).double()
    for gamma_param in ("sigmoid", "neg_relu"):
        model = silent(build(gamma_param=gamma_param, gamma_init=None))
        torch.nn.init.constant_(model.posterior_part.v.bias, v)
        (gradient,) = torch.autograd.grad(model.elbo(x, 0).kl.sum(), model.posterior_part.v.bias)
        assert bool((gradient != 0).all()) == (gamma_param == "sigmoid" or v < 0)


def test_kl_of_certain_gates_costs_what_the_dossier_says():
    model = silent(build(alpha=0.01, latent=1, gamma_init=None))
    x = torch.rand(1, *SHAPE).double()
    for v, nats in [(-40.0, 0.01005), (40.0, 4.605), (math.log(0.01 / 0.99), 0.0)]:
        torch.nn.init.constant_(model.posterior_part.v.bias, v)
        assert model.elbo(x).kl.item() == pytest.approx(nats, abs=5e-4)
