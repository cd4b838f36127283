"""The two-level VAE: its joint distributions, the one-level VAE that it holds as a special case, and its settings."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import kl_divergence
from torch.testing import assert_close

import models
from models import base
from models.base import assemble
from models.distributions import Gaussian
from models.gaussian import GaussianPosterior
from models.hvae import HierarchicalPrior, TwoLevels
from models.networks import dense
from models.vampprior import EqualMixture, VampPrior

SHAPE = (1, 8, 8)
B, Z1, Z2, K = 6, 3, 2, 4
NETWORKS = ["mlp", "conv", "gated", "vamp_conv"]

pytestmark = pytest.mark.usefixtures("float64")


def build(name: str = "hvae", **settings):
    settings = {"latent": Z1 + Z2, "hidden": (12, 10), "pseudo_inputs": K, **settings}
    return models.build(name, SHAPE, **settings)


@pytest.fixture
def x(blobs) -> Tensor:
    return blobs(B).double()


# The distribution.


def two_levels() -> TwoLevels:
    """z2 ~ N(1, 0.5^2 I), z1 | z2 ~ N(A z2, diag (1, 2, 3)^2), for which everything is known."""
    a = torch.tensor([[1.0, 0.0], [2.0, -1.0], [0.0, 3.0]])
    top = Gaussian(torch.ones(Z2), torch.full((Z2,), 0.5))
    return TwoLevels(
        top, lambda z2: Gaussian(z2 @ a.T, torch.tensor([1.0, 2.0, 3.0]).expand(*z2.shape[:-1], 3)), (3, 2)
    )


def test_a_joint_gaussian_has_the_joint_density():
    a = torch.tensor([[1.0, 0.0], [2.0, -1.0], [0.0, 3.0]])
    mean = torch.cat([a.sum(1), torch.ones(2)])
    top, noise = 0.25 * torch.eye(2), torch.diag(torch.tensor([1.0, 4.0, 9.0]))
    covariance = torch.cat([torch.cat([a @ top @ a.T + noise, a @ top], 1), torch.cat([top @ a.T, top], 1)])
    by_hand = torch.distributions.MultivariateNormal(mean, covariance)
    d, z = two_levels(), 2 * torch.randn(7, B, 5)
    assert_close(d.log_prob(z), by_hand.log_prob(z), rtol=1e-12, atol=1e-12)
    assert_close(d.log_prob_by_level(z).sum(0), by_hand.log_prob(z), rtol=1e-12, atol=1e-12)
    assert_close(d.centre, mean)
    n = 100_000
    drawn = d.sample((n,))
    assert ((drawn.mean(0) - mean).abs() < 4.5 * (covariance.diagonal() / n).sqrt()).all()
    error = drawn.T.cov() - covariance  # its deviation, of Gaussians: sqrt((C_ij^2 + C_ii C_jj) / n)
    variance = covariance.diagonal()
    assert (error.abs() < 4.5 * ((covariance**2 + variance[:, None] * variance) / n).sqrt()).all()


def test_the_last_draws_lower_level_is_found_once():
    calls = []
    d = two_levels()
    lower = d.lower
    d.lower = lambda z2: (calls.append(1), lower(z2))[1]
    z = d.rsample((4,))
    once = d.log_prob(z)
    assert len(calls) == 1
    assert_close(d.log_prob(z.clone()), once, rtol=1e-12, atol=1e-12)
    assert len(calls) == 2


def test_noise_is_that_of_z1_then_that_of_z2():
    d, noise = two_levels(), torch.randn(B, 5)
    z2 = 1 + 0.5 * noise[:, 3:]
    assert_close(d.rsample(noise=noise), torch.cat([d.lower(z2).rsample(noise=noise[:, :3]), z2], 1))


# The model.


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("prior", ["vamp", "standard"])
def test_z2_reaches_all_that_is_conditional_on_it(network, prior, x):
    model = build(network=network, prior=prior)
    q, p, z = model.posterior(x), model.prior(), torch.randn(B, Z1 + Z2)
    other = z + torch.cat([torch.zeros(Z1), torch.ones(Z2)])
    for d in (q, p):
        assert not torch.equal(d.given(z).loc, d.given(other).loc)
        assert not torch.equal(d.given(z).scale, d.given(other).scale)
    assert not torch.equal(model.likelihood(z).mean, model.likelihood(other).mean)
    assert q.sizes == p.sizes == (Z1, Z2)


def test_the_vampprior_stands_on_the_top_level_alone(x):
    model = build()
    p, z = model.prior(), torch.randn(B, Z1 + Z2)
    assert isinstance(p.top, EqualMixture)
    at_pseudo_inputs = model.posterior(model.prior_part.top.images()).top
    expected = at_pseudo_inputs.log_prob(z[:, None, Z1:]).logsumexp(1) - math.log(K)
    assert_close(p.log_prob_by_level(z)[1], expected, rtol=1e-12, atol=1e-12)
    assert type(build(prior="standard").prior().top) is Gaussian


def test_the_pseudo_inputs_may_be_training_images(blobs):
    model = build(pseudo_start="data", pseudo_deviation=1e-9)
    data = blobs(20).double()
    model.fit_statistics(data)
    distance = (model.prior_part.top.images()[:, None] - data).abs().amax((2, 3, 4)).amin(1)
    assert distance.max() < 1e-6
    assert model.parameter_groups()["model"]["lr_pseudo_inputs"] == [model.prior_part.top.pseudo_inputs]


def test_codes_are_the_mean_of_z1_given_the_mean_of_z2_then_that(x):
    model = build()
    q = model.posterior(x)
    expected = torch.cat([q.lower(q.top.loc).loc, q.top.loc], 1)
    assert_close(model.codes(x), expected.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("network", NETWORKS)
def test_both_encoders_see_an_image_once_however_many_draws(network, x, monkeypatch):
    model, calls = build(network=network), []
    for encoder in (model.encoder, model.posterior_part.of_x):
        encoder.register_forward_hook(lambda module, inputs, output: calls.append(len(output)))
    monkeypatch.setattr(base, "DRAWN", 2 * B)
    model.log_weights(x, 20)
    assert calls in ([B, B, K], [B, K, B])  # the images' two, and the pseudo-inputs' one


def ignoring_z2(model) -> None:
    """Cuts what depends on z2: q(z1|x, z2) and the decoder no longer see it, and p(z1|z2) is N(0, I)."""
    part = model.posterior_part
    with torch.no_grad():
        part.joint.layer.weight[:, part.joint.first :] = 0
        for parameter in model.prior_part.z1.parameters():
            parameter.zero_()
        model.decoder[0].weight[:, Z1:] = 0


@pytest.mark.parametrize("prior", ["vamp", "standard"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_without_z2_it_is_the_one_level_vae_and_pays_for_z2(likelihood, prior, x):
    model = build(prior=prior, likelihood=likelihood)
    ignoring_z2(model)
    one = build("vampprior", latent=Z1, prior="standard", likelihood=likelihood)
    part = model.posterior_part
    weights = {
        "encoder.1": part.of_x[1],
        "posterior_part.mu": part.z1.mu,
        "posterior_part.log_var": part.z1.log_var,
        "decoder.2": model.decoder[2],
        "decoder.4": model.decoder[4],
    }
    state = one.state_dict()
    state |= {f"{name}.{key}": value for name, layer in weights.items() for key, value in layer.state_dict().items()}
    state |= {
        "encoder.3.weight": part.joint.layer.weight[:, : part.joint.first],
        "encoder.3.bias": part.joint.layer.bias,
    }
    state |= {"decoder.0.weight": model.decoder[0].weight[:, :Z1], "decoder.0.bias": model.decoder[0].bias}
    one.load_state_dict(state)

    noise = torch.randn(B, Z1 + Z2)
    two_levels = model.elbo(x, noise=noise)
    one_level = one.elbo(x, kl="sampled", noise=noise[:, :Z1])
    q2, p2 = model.posterior(x).top, model.prior().top
    z2 = q2.rsample(noise=noise[:, Z1:])
    assert_close(two_levels.log_lik, one_level.log_lik, rtol=1e-10, atol=1e-10)
    assert_close(two_levels.kl, one_level.kl + q2.log_prob(z2) - p2.log_prob(z2), rtol=1e-10, atol=1e-10)
    assert (q2.log_prob(z2) - p2.log_prob(z2)).abs().min() > 1e-3


def test_the_kl_of_each_level_is_measured_and_together_they_are_the_kl(x):
    model = build()
    torch.manual_seed(1)
    look = model.look(x)
    torch.manual_seed(1)
    elbo = model.elbo(x)
    by_level = [take(x, look) for take in model.measures().values()]
    assert [measure.name for measure in model.measures()] == ["kl_z1", "kl_z2"]
    assert_close(sum(by_level), elbo.kl, rtol=1e-12, atol=1e-12)
    q, p = model.posterior(x), model.prior()
    torch.manual_seed(1)
    z = q.rsample()
    assert_close(by_level[0], q.given(z).log_prob(z[:, :Z1]) - p.given(z).log_prob(z[:, :Z1]))


def test_the_means_that_units_are_counted_on_are_the_codes(x):
    model = build()
    assert torch.equal(model.posterior_part.means(model.posterior(x)), model.posterior_part.codes(model.posterior(x)))


def test_a_vampprior_on_top_is_refused_with_a_posterior_of_one_level():
    prior = HierarchicalPrior(VampPrior(SHAPE, pseudo_inputs=K), (Z1, Z2), (7,), dense, "narrow")
    with pytest.raises(ValueError, match=r"is the mixture of q\(z2\|u_k\), and GaussianPosterior has no q\(z2\|x\)"):
        assemble(SHAPE, latent=Z1 + Z2, posterior=lambda features: GaussianPosterior(features, Z1 + Z2), prior=prior)


# Free bits.


def test_free_bits_take_the_place_of_what_a_coordinate_of_z1_costs_less(x):
    model, generous = build(kl_warmup=0.0), build(kl_warmup=0.0, free_bits=1e6)
    generous.load_state_dict(model.state_dict())
    torch.manual_seed(1)
    loss = generous.loss(x, 3)
    torch.manual_seed(1)
    q, p = model.posterior(x), model.prior()
    z = q.rsample()
    top = (q.log_prob_by_level(z) - p.log_prob_by_level(z))[1]
    assert_close(loss, 1e6 * Z1 + (top - model.likelihood(z).log_prob(x)).mean())


def test_the_fewest_free_bits_leave_the_elbo_with_the_lower_kl_in_closed_form(x):
    model = build(kl_warmup=0.0, free_bits=1e-12)
    torch.manual_seed(1)
    loss = model.loss(x, 3)
    torch.manual_seed(1)
    q, p = model.posterior(x), model.prior()
    z = q.rsample()
    lower = kl_divergence(q.given(z), p.given(z))
    top = (q.log_prob_by_level(z) - p.log_prob_by_level(z))[1]
    assert_close(loss, (lower + top - model.likelihood(z).log_prob(x)).mean())


# Sizes.


@pytest.mark.parametrize(
    ("latent", "top", "sizes"),
    [(2, 0.5, (1, 1)), (5, 0.5, (3, 2)), (8, 2, (6, 2)), (8, 0.25, (6, 2)), (2, 0.01, (1, 1)), (4, 0.99, (1, 3))],
)
def test_how_much_of_the_code_is_the_top(latent, top, sizes):
    assert build(latent=latent, top=top).prior().sizes == sizes


def test_half_of_the_code_is_the_top_if_nothing_is_said():
    assert [build(latent=latent).prior().sizes for latent in (2, 3, 9)] == [(1, 1), (2, 1), (5, 4)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latent": 1}, "hvae: latent: 1 must be 2 at least, a coordinate for each level"),
        ({"latent": 4, "top": 4}, "hvae: top: 4 must be less than latent, the size of the whole code, which is 4"),
        ({"hidden": ()}, r"hvae: hidden: needs a layer at least, in which q\(z1\|x, z2\) joins x and z2, got \(\)"),
    ],
)
def test_what_leaves_a_level_without_a_place_is_refused(settings, message):
    with pytest.raises(models.ModelError, match=message):
        build(**settings)


def test_widths_of_the_authors():
    """papers/vampprior.md, section 3: 300 and 300, x and z2 apart, then one layer on both."""
    with torch.device("meta"):
        model = models.build("hvae", (1, 28, 28), network="gated", prior="standard")
    part = model.posterior_part
    assert [layer.out_features for layer in list(model.encoder)[1::2]] == [600, 600]  # a layer and its gate
    assert [part.of_x[1].out_features, part.of_z2[0].out_features] == [600, 600]
    assert (part.joint.layer.in_features, part.joint.layer.out_features) == (600, 600)
    assert [layer.out_features for layer in model.prior_part.of_z2[::2]] == [600, 600]
    assert [model.decoder[0].of_z1[0].out_features, model.decoder[0].of_z2[0].out_features] == [600, 600]
    assert model.decoder[1].in_features == 600
    assert (part.z1.mu.out_features, part.z2.mu.out_features) == (40, 40)


def test_widths_of_the_replication():
    """There, section 4: a second encoder of x, 256 and 256 on z2, 256 on both; 300 and 300 for p(z1|z2)."""
    with torch.device("meta"):
        model = models.build("hvae", (1, 28, 28), network="vamp_conv", hidden=256, network_size=1.0, latent=2)
    part = model.posterior_part
    assert sum(p.numel() for p in part.of_x.parameters()) == sum(p.numel() for p in model.encoder.parameters())
    assert [layer.out_features for layer in part.of_z2[::2]] == [256, 256]
    assert (part.joint.layer.in_features, part.joint.layer.out_features) == (512, 256)
    assert [layer.out_features for layer in model.prior_part.of_z2[::2]] == [300, 300]
    assert model.decoder[0].in_features == 2
