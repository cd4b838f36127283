"""A linear-Gaussian model solved by hand: with the exact posterior, every importance weight is p(x), at any draw.

The decoder is x = W z + b with noise sigma and the columns of W orthogonal, so that the exact posterior factorises over
coordinates, as the models' own do. Everything is float64; 1e-10 is rounding.
"""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.testing import assert_close

import models
from models import vlae
from models.distributions import Gaussian, SpikeSlab
from models.parts import PosteriorPart

Z, D, SIGMA, ALPHA = 5, 9, 0.6, 0.3


class ExactPosterior(PosteriorPart):
    """p(z|x): a Gaussian, or a spike and slab where the prior is one."""

    def forward(self, model, x: Tensor, step=None):
        w, b = model.decoder[0].weight, model.decoder[0].bias
        variance = 1 / (1 + (w**2).sum(0) / SIGMA**2)
        loc = variance * ((x.flatten(1) - b) @ w) / SIGMA**2
        if model.name == "vae":
            return Gaussian(loc, variance.sqrt().expand_as(loc))
        # The evidence for w_j = 1 over w_j = 0 is that of x's projection on column j.
        logits = math.log(ALPHA / (1 - ALPHA)) + 0.5 * variance.log() + 0.5 * loc**2 / variance
        return SpikeSlab(loc, variance.sqrt(), logits=logits)


@pytest.fixture(params=["vae", "vsc"])
def model(request):
    settings = {"alpha": ALPHA} if request.param == "vsc" else {}
    settings |= {"latent": Z, "hidden": (), "likelihood": "gaussian", "sigma": SIGMA}
    model = models.build(request.param, (1, 1, D), **settings).double()
    model.posterior_part = ExactPosterior()
    orthogonal, _ = torch.linalg.qr(torch.randn(D, Z, dtype=torch.float64))
    with torch.no_grad():
        model.decoder[0].weight.copy_(orthogonal * torch.linspace(0.2, 1.5, Z))
    return model


@pytest.fixture
def x() -> Tensor:
    return 1.5 * torch.randn(8, 1, 1, D, dtype=torch.float64)


@torch.no_grad()
def log_p(model, x: Tensor) -> Tensor:
    """log p(x), [B]: log N(x; b, W W^T + sigma^2 I), or a mixture of one such by pattern of coordinates that are on."""
    w, b = model.decoder[0].weight, model.decoder[0].bias
    patterns = itertools.product([0.0, 1.0], repeat=Z) if model.name == "vsc" else [(1.0,) * Z]
    terms = []
    for pattern in patterns:
        on = torch.tensor(pattern, dtype=torch.float64)
        covariance = (w * on) @ w.T + SIGMA**2 * torch.eye(D, dtype=torch.float64)
        log_prior = (on * math.log(ALPHA) + (1 - on) * math.log(1 - ALPHA)).sum() if model.name == "vsc" else 0.0
        terms.append(log_prior + MultivariateNormal(b, covariance).log_prob(x.flatten(1)))
    return torch.stack(terms).logsumexp(0)


def test_every_weight_is_the_likelihood(model, x):
    log_w = model.log_weights(x, 200)
    assert_close(log_w, log_p(model, x).expand(200, -1), rtol=0, atol=1e-10)


def test_every_draw_of_the_bound_with_the_sampled_kl_is_the_likelihood(model, x):
    elbo = model.elbo(x, kl="sampled")
    assert_close(elbo.log_lik - elbo.kl, log_p(model, x), rtol=0, atol=1e-10)


def test_the_bound_with_the_closed_kl_is_the_likelihood_on_average(model, x):
    n = 4000
    with torch.no_grad():
        elbo = model.elbo(x.repeat(n, 1, 1, 1))
    bounds = (elbo.log_lik - elbo.kl).reshape(n, len(x))
    standard_error = bounds.std(0) / math.sqrt(n)
    assert standard_error.max() < 0.05
    # 4 standard errors for 8 images and 2 models: a false alarm in 1,000 streams of random numbers
    assert ((bounds.mean(0) - log_p(model, x)).abs() <= 4 * standard_error).all()


# A Laplace posterior is exact here by itself, whatever W: one step from anywhere, at rate 1, is at the mode.


@pytest.fixture(params=["learned", SIGMA], ids=str)
def laplace(request):
    settings = {"latent": Z, "hidden": (), "likelihood": "gaussian", "sigma": request.param}
    model = models.build("vlae", (1, 1, D), updates=1, update_rate=1.0, **settings).double()
    if request.param == "learned":
        torch.nn.init.constant_(model.likelihood_part.log_var, 2 * math.log(SIGMA))
    return model


@pytest.mark.parametrize("way", ["gram", "jacobian"])
def test_every_weight_of_a_laplace_posterior_is_the_likelihood(laplace, x, way, monkeypatch):
    monkeypatch.setattr(vlae, "gram_is_cheaper", lambda *sizes: way == "gram")
    w = laplace.decoder[0].weight.detach()
    assert (w.T @ w - torch.diag((w**2).sum(0))).abs().max() > 0.1  # the exact posterior has correlations
    log_w = laplace.log_weights(x, 200)
    assert_close(log_w, log_p(laplace, x).expand(200, -1), rtol=0, atol=1e-9)
    elbo = laplace.elbo(x, 0, kl="sampled")
    assert_close(elbo.log_lik - elbo.kl, log_p(laplace, x), rtol=0, atol=1e-9)


def test_a_laplace_posterior_is_the_exact_one(laplace, x):
    w, b = laplace.decoder[0].weight, laplace.decoder[0].bias
    precision = torch.eye(Z, dtype=torch.float64) + w.T @ w / SIGMA**2
    mean = torch.linalg.solve(precision, w.T @ (x.flatten(1) - b).T / SIGMA**2).T
    q = laplace.posterior(x)
    assert_close(q.loc, mean, rtol=0, atol=1e-10)
    assert_close(q.factor @ q.factor.mT, precision.expand(len(x), -1, -1), rtol=0, atol=1e-10)


def test_more_steps_stay_where_the_first_one_went(laplace, x):
    laplace.posterior_part.rates = [1.0] * 4
    first, *others = [q.loc for q in laplace.posterior_part.search(laplace, x)[1:]]
    for mu in others:
        assert_close(mu, first, rtol=0, atol=1e-11)
