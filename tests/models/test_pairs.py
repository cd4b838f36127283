"""The papers' posteriors and priors that `vae` puts together, and the plain VAE that each holds as a special case.

What every model has to do, these pairs do too: test_contract.py, test_quadrature.py.
"""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import models
from models import distributions, householder, iaf, vae, vampprior

SHAPE = (1, 8, 8)
B, Z = 6, 4

pytestmark = pytest.mark.usefixtures("float64")

POSTERIORS = {
    "gaussian": distributions.Gaussian,
    "laplace": distributions.PrecisionGaussian,
    "svi": distributions.Gaussian,
    "householder": householder.Reflected,
    "iaf": iaf.Flowed,
    "spike_slab": distributions.SpikeSlab,
}
PRIORS = {
    "standard": distributions.Gaussian,
    "vamp": vampprior.EqualMixture,
    "spike_slab": distributions.SpikeSlab,
}
VALID = [(posterior, prior) for posterior in POSTERIORS for prior in vae.pairs()[posterior] if prior in PRIORS]
INVALID = sorted(set(itertools.product(POSTERIORS, PRIORS)) - set(VALID))


def build(name: str = "vae", **settings):
    settings = {"latent": Z, "hidden": (12, 10), **settings}
    return models.build(name, SHAPE, **settings)


@pytest.fixture
def x(blobs) -> Tensor:
    return blobs(B).double()


# Which pairs there are.


def test_which_pairs_there_are():
    """By hand: a density for point masses or the other way round is infinite, a flow cannot be asked about another
    point, and what looks for its posterior through the prior cannot be the prior."""
    assert set(VALID) == {
        ("gaussian", "standard"),
        ("gaussian", "vamp"),
        ("laplace", "standard"),
        ("svi", "standard"),
        ("householder", "standard"),
        ("householder", "vamp"),
        ("iaf", "standard"),
        ("spike_slab", "spike_slab"),
        ("spike_slab", "vamp"),
    }
    assert len(VALID) + len(INVALID) == len(POSTERIORS) * len(PRIORS) == 18


@pytest.mark.parametrize(("posterior", "prior"), VALID)
def test_a_pair_is_what_it_is_called(posterior, prior, x):
    model = build(posterior=posterior, prior=prior, pseudo_inputs=7)
    assert type(model.posterior(x)) is POSTERIORS[posterior]
    assert type(model.prior()) is PRIORS[prior]
    assert torch.isfinite(model.elbo(x).kl).all()


def reason(posterior: str, prior: str) -> str:
    if posterior == "spike_slab":
        return "has point masses at 0, which a prior with a density gives no probability"
    if prior == "spike_slab":
        return "is almost never exactly 0, where the prior has point masses"
    if posterior == "iaf":
        return "would have to be inverted coordinate by coordinate"
    return "is found through the prior, and a VampPrior through the posterior"


@pytest.mark.parametrize(("posterior", "prior"), INVALID)
def test_an_invalid_pair_is_refused_with_the_reason_and_what_would_go(posterior, prior):
    with pytest.raises(models.ModelError) as caught:
        build(posterior=posterior, prior=prior)
    message = str(caught.value)
    assert message.startswith(f"vae: posterior: {posterior} {reason(posterior, prior)}")
    assert message.endswith(f"with prior: {prior}; it goes with {', '.join(vae.pairs()[posterior])}")
    assert "\n" not in message


@pytest.mark.parametrize("prior", ["standard", "vamp"])
def test_a_posterior_without_a_density_goes_with_none(prior):
    assert vae.pairs()["implicit"] == ()
    with pytest.raises(models.ModelError) as caught:
        build(posterior="implicit", prior=prior)
    assert str(caught.value) == (
        f"vae: posterior: implicit has no density, and so no KL but one that is learned, as `model: avb` does, "
        f"with prior: {prior}; it goes with none"
    )


@pytest.mark.parametrize("settings", [{"likelihood": "logistic"}, {"likelihood": "gaussian", "sigma": "per_pixel"}])
def test_a_laplace_posterior_refuses_what_has_no_quadratic_model(settings):
    with pytest.raises(models.ModelError, match="vae: a Laplace posterior takes bernoulli pixels"):
        build(posterior="laplace", **settings)


SETTINGS = {
    "alpha": (0.4, {"prior": "spike_slab", "posterior": "spike_slab"}),
    "updates": (2, {"posterior": "laplace"}),
    "update_rate": (0.7, {"posterior": "laplace"}),
    "svi_steps": (2, {"posterior": "svi"}),
    "svi_rate": (0.07, {"posterior": "svi"}),
    "flows": (2, {"posterior": "householder"}),
    "flow_hidden": (32, {"posterior": "iaf"}),
    "pseudo_inputs": (9, {"prior": "vamp"}),
}


@pytest.mark.parametrize("key", SETTINGS)
def test_a_parts_setting_reaches_the_part_and_no_other(key, x):
    value, needed = SETTINGS[key]

    def bound(**settings) -> Tensor:
        torch.manual_seed(0)
        model = build(**settings)
        torch.manual_seed(1)
        elbo = model.elbo(x, 0)
        return elbo.log_lik - elbo.kl

    assert not torch.equal(bound(**needed), bound(**needed, **{key: value}))
    assert torch.equal(bound(), bound(**{key: value}))


# The same parts in `vae` as in the models of their papers.

SAME = {
    "vlae": ({}, {"posterior": "laplace"}),
    "savae": ({}, {"posterior": "svi"}),
    "householder": ({}, {"posterior": "householder"}),
    "iaf": ({"flow_hidden": 20}, {"posterior": "iaf", "flow_hidden": 20}),
    "vsc": ({"alpha": 0.2, "kl_warmup": 0.0}, {"posterior": "spike_slab", "prior": "spike_slab", "alpha": 0.2}),
}


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("name", SAME)
def test_a_part_in_vae_is_that_of_its_paper(name, likelihood, x):
    own, in_vae = SAME[name]
    paper, other = build(name, likelihood=likelihood, **own), build(likelihood=likelihood, **in_vae)
    other.load_state_dict(paper.state_dict())

    def numbers(model) -> list[Tensor]:
        torch.manual_seed(4)
        loss = model.loss(x, 3)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        return [loss, *gradients, *model.elbo(x), model.log_weights(x, 3), model.codes(x), model.sample(2)]

    for ours, papers in zip(numbers(other), numbers(paper)):
        assert torch.equal(ours, papers)


# Reductions: without steps of their own, flows and refinement leave the plain VAE.

REDUCED = {
    "householder": ("householder", {"flows": 0}),
    "iaf": ("iaf", {"flows": 0}),
    "savae": ("savae", {"svi_steps": 0}),
    "vae with householder": ("vae", {"posterior": "householder", "flows": 0}),
    "vae with iaf": ("vae", {"posterior": "iaf", "flows": 0}),
    "vae with svi": ("vae", {"posterior": "svi", "svi_steps": 0}),
}


@pytest.mark.parametrize("step", [None, 3])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("reduced", REDUCED)
def test_without_steps_it_is_the_vae(reduced, likelihood, step, x):
    name, settings = REDUCED[reduced]
    plain, model = build(likelihood=likelihood), build(name, likelihood=likelihood, **settings)
    rename = {key: key.replace("posterior_part.", "posterior_part.amortised.") for key in plain.state_dict()}
    model.load_state_dict({rename[key]: value for key, value in plain.state_dict().items()})

    noise = torch.randn(B, Z)
    ours, theirs = (m.elbo(x, step, kl="sampled", noise=noise) for m in (model, plain))
    assert_close(ours.log_lik, theirs.log_lik, rtol=1e-10, atol=1e-10)
    assert_close(ours.kl, theirs.kl, rtol=1e-10, atol=1e-10)
    assert_close(model.codes(x), plain.codes(x), rtol=1e-10, atol=1e-10)

    by_ours, by_theirs = (
        dict(
            zip((key for key, _ in m.named_parameters()), torch.autograd.grad((e.kl - e.log_lik).sum(), m.parameters()))
        )
        for m, e in ((model, ours), (plain, theirs))
    )
    for key, gradient in by_theirs.items():
        assert_close(by_ours[rename[key]], gradient, rtol=1e-10, atol=1e-10)

    weights = []
    for m in (model, plain):
        torch.manual_seed(2)
        weights.append(m.log_weights(x, 5))
    assert_close(weights[0], weights[1], rtol=1e-10, atol=1e-10)


def test_a_vampprior_of_one_image_makes_its_posterior_the_prior(x):
    model = build(prior="vamp", pseudo_inputs=1)
    with torch.no_grad():
        model.prior_part.pseudo_inputs.copy_(x[:1])
    elbo = model.elbo(x[:1], kl="sampled")
    assert_close(elbo.kl, torch.zeros(1), rtol=0, atol=1e-12)
    assert model.elbo(x[1:], kl="sampled").kl.abs().min() > 0


def test_the_sampled_kl_of_a_spike_slab_under_a_vampprior_is_that_of_exact_draws(x):
    model = build(posterior="spike_slab", prior="vamp", pseudo_inputs=3)
    torch.nn.init.normal_(model.posterior_part.v.weight)
    q, p = model.posterior(x), model.prior()
    n = 20_000
    with torch.no_grad():
        in_training = torch.stack([model.elbo(x.repeat(n // 10, 1, 1, 1), 0).kl.reshape(-1, B) for _ in range(10)])
        z = q.sample((n,))
        exact = q.log_prob(z) - p.log_prob(z)
    standard_error = ((in_training.var((0, 1)) + exact.var(0)) / n).sqrt()
    assert ((in_training.mean((0, 1)) - exact.mean(0)).abs() <= 4 * standard_error).all()
    assert (standard_error < 0.05 * math.sqrt(Z)).all()
