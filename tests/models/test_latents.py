"""The KL of each latent, ways between codes, and the aggregated posterior."""

import math
import re

import pytest
import torch
from torch.distributions import Independent, Normal, StudentT
from torch.testing import assert_close

import models
from models import ModelError
from models.latents import _turned, interpolate, kl_by_latent, name_of, sample_aggregated

SHAPE = (1, 8, 8)
B = 16


@pytest.fixture
def model():
    return models.build("vae", SHAPE, latent=3, hidden=8).double()


@pytest.fixture
def x(blobs) -> torch.Tensor:
    return blobs(B).double()


@pytest.mark.parametrize(
    ("name", "shape", "settings", "names"),
    [
        ("vae", SHAPE, {}, ["z 0", "z 1", "z 2"]),
        ("hvae", SHAPE, {"top": 1}, ["z1 0", "z1 1", "z2 0"]),
        ("conjoint", (2, *SHAPE), {"private": 0}, ["zs 0", "zs 1", "zs 2"]),
        ("conjoint", (2, *SHAPE), {"private": 1}, ["z1 0", "z2 0", "zs 0", "zs 1", "zs 2"]),
    ],
)
def test_a_coordinate_is_called_by_its_part_where_codes_have_parts(name, shape, settings, names):
    model = models.build(name, shape, latent=3, hidden=8, **settings)
    assert [name_of(model, j) for j in range(len(names))] == names


@pytest.mark.parametrize(
    ("name", "settings"), [("vae", {}), ("savae", {}), ("vsc", {}), ("vsc", {"gamma_param": "neg_relu"})], ids=str
)
def test_these_have_a_closed_form_of_each_latent(name, settings, x):
    model = models.build(name, SHAPE, latent=3, hidden=8, **settings).double()
    each = kl_by_latent(model, x)
    assert torch.equal(kl_by_latent(model, x), each)  # nothing is drawn
    assert (each >= 0).all()


@pytest.mark.parametrize(
    ("name", "settings", "tied"),
    [
        ("vae", {"prior": "vamp"}, "the prior (EqualMixture)"),
        ("vae", {"posterior": "spike_slab", "prior": "vamp"}, "the prior (EqualMixture)"),
        ("vlae", {}, "the posterior (PrecisionGaussian)"),
        ("householder", {}, "the posterior (Reflected)"),
        ("iaf", {}, "the posterior (Flowed)"),
        (
            "vae",
            {"posterior": "householder", "prior": "vamp"},
            "the posterior (Reflected) and of the prior (EqualMixture)",
        ),
    ],
)
def test_these_have_no_kl_of_each_latent(name, settings, tied, x):
    model = models.build(name, SHAPE, latent=3, hidden=8, **settings).double()
    line = f"the KL has no share of each latent: the coordinates of {tied} are not known to be independent"
    with pytest.raises(ModelError, match=f"^{re.escape(line)}$"):
        kl_by_latent(model, x)


def test_a_kl_that_has_no_closed_form_is_estimated_latent_by_latent(model, x):
    q = StudentT(5.0, torch.randn(B, 3).double(), torch.rand(B, 3).double() + 0.5, validate_args=False)
    model.posterior_part.forward = lambda *_: Independent(q, 1)
    torch.manual_seed(1)
    each = kl_by_latent(model, x)
    torch.manual_seed(1)
    assert_close(each.sum(1), model.elbo(x).kl, rtol=1e-12, atol=1e-12)
    mean = torch.stack([kl_by_latent(model, x) for _ in range(1000)])
    z = q.sample((100_000,))
    slow = (q.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).mean(0)
    # 48 comparisons of two estimates, the larger error being the first's: a false alarm in some 3,000 seeds
    assert ((mean.mean(0) - slow).abs() < 4.5 * mean.std(0) / 1000**0.5).all()


def test_the_kl_of_each_latent_is_the_gaussian_one(model, x):
    q = model.posterior(x)
    by_hand = 0.5 * (q.scale**2 + q.loc**2 - 1) - q.scale.log()
    assert_close(kl_by_latent(model, x), by_hand.detach())


def test_a_way_leads_from_one_reconstruction_to_the_other(model, x):
    for spherical in (False, True):
        images = interpolate(model, x[:3], x[3:6], 5, spherical=spherical)
        assert images.shape == (5, 3, *SHAPE)
        assert_close(images[0], model.reconstruct(x[:3]))
        assert_close(images[-1], model.reconstruct(x[3:6]))
    straight = interpolate(model, x[:3], x[3:6], 5)
    assert_close(straight[2], model.decode((model.codes(x[:3]) + model.codes(x[3:6])) / 2))
    assert not torch.allclose(images[2], straight[2], atol=1e-6)


def test_a_turn_stays_on_the_sphere_at_an_even_speed():
    a, b = torch.eye(3).double()[:1], torch.eye(3).double()[1:2]
    t = torch.linspace(0, 1, 4).double()[:, None, None]
    angles = (math.pi / 2 * t).squeeze()
    expected = torch.stack([angles.cos(), angles.sin(), torch.zeros(4)], dim=1)[:, None]
    assert_close(_turned(a, b, t), expected)
    assert_close(_turned(2 * a, 4 * a, t), torch.lerp(2 * a, 4 * a, t))  # no angle: a line
    assert_close(_turned(a, -a, t), torch.lerp(a, -a, t))  # every way round is as short
    assert_close(_turned(0 * a, b, t)[-1], b)


def test_ways_that_lead_nowhere_are_refused(model, x):
    with pytest.raises(ModelError, match="as many images at the end as at the start, got 2 and 1"):
        interpolate(model, x[:1], x[:2])
    sparse = models.build("vsc", SHAPE, latent=3, hidden=8).double()
    assert interpolate(sparse, x[:1], x[1:2], 3).shape == (3, 1, *SHAPE)
    with pytest.raises(ModelError, match="a spherical way is for a Gaussian prior"):
        interpolate(sparse, x[:1], x[1:2], spherical=True)


def test_the_aggregated_posterior_is_the_mean_of_the_posteriors(model, x):
    torch.nn.init.normal_(model.posterior_part.mu.weight, std=20.0)  # so that the images' codes lie apart
    n, q = 20_000, model.posterior(x)
    torch.manual_seed(1)
    z = sample_aggregated(model, x, n)
    mean, second = q.loc.mean(0), (q.loc**2 + q.scale**2).mean(0)
    deviation = (second - mean**2).sqrt()
    assert q.loc.std(0).min() > 0.5
    assert z.shape == (n, 3)
    assert ((z.mean(0) - mean).abs() < 4.5 * deviation / n**0.5).all()  # false alarm: 1 in 50,000
    assert ((z.square().mean(0) - second).abs() < 4.5 * z.square().std(0) / n**0.5).all()
    torch.manual_seed(1)
    assert torch.equal(sample_aggregated(model, x, n), z)
