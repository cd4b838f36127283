"""The mixture of posteriors at pseudo-inputs, against sums by hand and its own draws."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.testing import assert_close

import models
from models.distributions import Gaussian, SpikeSlab
from models.householder import Reflected
from models.vampprior import START, EqualMixture

SHAPE = (1, 8, 8)
K, Z, B = 3, 4, 5
POSTERIORS = ["gaussian", "householder", "spike_slab"]

pytestmark = pytest.mark.usefixtures("float64")


def components(kind: str) -> Distribution:
    loc, scale = 2 * torch.randn(K, Z), torch.empty(K, Z).uniform_(0.3, 1.5)
    if kind == "spike_slab":
        return SpikeSlab(loc, scale, torch.empty(K, Z).uniform_(0.1, 0.9))
    gaussian = Gaussian(loc, scale)
    return gaussian if kind == "gaussian" else Reflected(gaussian, [torch.randn(K, Z) for _ in range(2)])


def component(mixture: EqualMixture, k: int) -> Distribution:
    """The k-th alone, without a batch."""
    q = mixture.components
    if isinstance(q, SpikeSlab):
        return SpikeSlab(q.loc[k], q.scale[k], logits=q.logits[k])
    if isinstance(q, Reflected):
        return Reflected(Gaussian(q.base.loc[k], q.base.scale[k]), [v[k] for v in q.normals])
    return Gaussian(q.loc[k], q.scale[k])


@pytest.mark.parametrize("kind", POSTERIORS)
def test_density_is_the_mean_of_the_components(kind):
    p = EqualMixture(components(kind))
    z = p.sample((7, B))
    by_hand = torch.stack([component(p, k).log_prob(z) for k in range(K)]).exp().mean(0).log()
    assert_close(p.log_prob(z), by_hand, rtol=1e-12, atol=1e-12)
    assert_close(p.log_prob(z[0, 0]), by_hand[0, 0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", POSTERIORS)
def test_density_far_from_all_components_is_finite(kind):
    assert torch.isfinite(EqualMixture(components(kind)).log_prob(torch.full((Z,), 200.0)))


@pytest.mark.parametrize("kind", POSTERIORS)
def test_shapes(kind):
    p = EqualMixture(components(kind))
    assert (p.batch_shape, p.event_shape) == ((), (Z,))
    for shape in ((), (1,), (3, 2)):
        z = p.sample(shape)
        assert z.shape == (*shape, Z)
        assert p.log_prob(z).shape == shape
        assert not z.requires_grad


@pytest.mark.parametrize("kind", POSTERIORS)
def test_draws_have_the_mixtures_moments(kind):
    n, p = 100_000, EqualMixture(components(kind))
    z = p.sample((n,))
    one_by_one = torch.stack([component(p, k).sample((n,)) for k in range(K)])  # each component as often
    for of_z in (lambda z: z, lambda z: z**2, lambda z: z[..., :1] * z, lambda z: (z == 0).double()):
        drawn, expected = of_z(z), of_z(one_by_one)
        standard_error = (drawn.var(0) / n + expected.var(1).mean(0) / (K * n)).sqrt()
        # 4 standard errors in 16 comparisons of a kind: a false alarm in 1,000 streams of random numbers
        assert ((drawn.mean(0) - expected.mean((0, 1))).abs() <= 4 * standard_error).all()


def test_a_gaussian_mixture_integrates_to_one():
    p = EqualMixture(Gaussian(torch.tensor([[-1.0], [0.5], [3.0]]), torch.tensor([[0.3], [1.0], [0.5]])))
    z = torch.linspace(-12, 14, 4001)[:, None]
    assert_close(torch.trapezoid(p.log_prob(z).exp(), z[:, 0]), torch.tensor(1.0), rtol=0, atol=1e-12)


def test_a_spike_slab_mixture_has_the_mean_mass_at_every_pattern_of_zeros():
    p = EqualMixture(components("spike_slab"))
    probs = p.components.probs
    for pattern in itertools.product([0.0, 1.0], repeat=Z):
        on = torch.tensor(pattern)
        mass = (on * probs + (1 - on) * (1 - probs)).prod(1).mean()
        z = p.sample((20_000,))
        share = ((z != 0) == on.bool()).all(1).double().mean()
        assert (share - mass).abs() <= 4.5 * (mass * (1 - mass) / len(z)).sqrt()  # 16 patterns


def build(posterior: str, **settings):
    settings = {"latent": Z, "hidden": 12, "pseudo_inputs": K, "prior": "vamp", **settings}
    return models.build("vae", SHAPE, posterior=posterior, **settings)


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_the_prior_is_the_posterior_at_the_pseudo_inputs(posterior):
    model = build(posterior)
    with torch.no_grad():
        model.prior_part.pseudo_inputs.copy_(torch.rand(K, *SHAPE))
    z = model.prior().sample((B,))
    parts = [model.posterior(u[None]).log_prob(z[:, None]) for u in model.prior_part.pseudo_inputs]
    expected = torch.cat(parts, 1).logsumexp(1) - math.log(K)
    assert_close(model.prior().log_prob(z), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_the_prior_sends_gradients_to_its_images_and_to_the_encoder(posterior):
    model, z = build(posterior), torch.randn(B, Z)
    with torch.no_grad():
        model.prior_part.pseudo_inputs.copy_(torch.rand(K, *SHAPE))
    model.prior().log_prob(z).sum().backward()
    for name, parameter in model.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert reached != name.startswith("decoder"), name
    assert (model.prior_part.pseudo_inputs.grad != 0).double().mean() > 0.9


def test_pseudo_inputs_are_images():
    model = build("gaussian")
    with torch.no_grad():
        model.prior_part.pseudo_inputs.copy_(torch.linspace(-1, 2, K * 64).reshape(K, *SHAPE))
    clamped = model.posterior(model.prior_part.pseudo_inputs.clamp(0, 1)).loc
    assert_close(model.prior().components.loc, clamped, rtol=0, atol=0)
    assert not torch.equal(clamped, model.posterior(model.prior_part.pseudo_inputs).loc)


def test_pseudo_inputs_start_where_the_authors_have_them():
    images = build("gaussian", pseudo_inputs=200).prior_part.pseudo_inputs.detach()
    mean, deviation = START
    assert images.mean().item() == pytest.approx(mean, abs=4 * deviation / math.sqrt(images.numel()))
    assert images.std().item() == pytest.approx(deviation, rel=0.03)  # 4 standard errors of 12,800 pixels


def test_a_posterior_at_training_is_exact_in_the_prior():
    prior: Tensor = build("spike_slab").prior().components
    assert prior.steepness is None
