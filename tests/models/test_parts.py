"""The hooks that all parts have: their starts, statistics, learning rates, and which of them go together."""

import functools

import pytest
import torch
from shapes import shape_for
from torch import Tensor, nn
from torch.distributions import Independent, Normal
from torch.testing import assert_close

import models
from models.base import VAE, assemble
from models.gaussian import GaussianPosterior, StandardPrior
from models.likelihoods import BernoulliLikelihood
from models.parts import Part, PosteriorPart, PriorPart, mismatch

SHAPE = (1, 8, 8)


class Shifted(PriorPart):
    """N(c, I), c being the mean of the training images in each coordinate, at a rate of its own."""

    def __init__(self, latent: int):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(latent))
        self.layer = nn.Linear(latent, latent)

    def start(self, init):
        nn.init.constant_(self.layer.weight, 0.125)

    def fit_statistics(self, images):
        parts = [images] if isinstance(images, Tensor) else list(images)
        nn.init.constant_(self.loc, float(torch.cat(parts).mean()))

    def own_rates(self):
        return {"lr_shift": [self.loc]}

    def forward(self, model):
        return Independent(Normal(self.loc + 0 * self.layer(self.loc), 1.0), 1)


def build(**shared) -> VAE:
    return assemble(SHAPE, latent=3, posterior=lambda f: GaussianPosterior(f, 3), prior=Shifted(3), **shared)


@pytest.mark.parametrize("init", ["torch", "vlae", "glorot"])
def test_a_part_with_a_start_of_its_own_keeps_it(init):
    assert (build(init=init).prior_part.layer.weight == 0.125).all()


def test_a_prior_may_take_what_it_needs_of_the_training_images():
    model, images = build(likelihood="gaussian"), torch.rand(20, *SHAPE)
    model.fit_statistics(images.split(7))
    assert_close(model.prior_part.loc, images.mean().expand(3))
    assert_close(model.likelihood_part.mean_image, images.mean(0))  # both have seen all of them


def test_a_parts_own_rate_stands_beside_the_others_and_nothing_is_listed_twice():
    model = build()
    groups = model.parameter_groups()["model"]
    assert list(groups) == ["lr", "lr_shift"]
    assert groups["lr_shift"] == [model.prior_part.loc]
    listed = [id(p) for group in groups.values() for p in group]
    assert sorted(listed) == sorted(id(p) for p in model.parameters())


class Critic(Part):
    """A discriminator: a part that its model's class makes, with an optimiser of its own."""

    optimiser = "critic"

    def __init__(self, latent: int):
        super().__init__()
        self.layer = nn.Linear(latent, 1)

    def start(self, init):
        nn.init.constant_(self.layer.weight, 0.5)


class Criticised(VAE):
    def __init__(self, *given, critic: Critic, **settings):
        super().__init__(*given, **settings)
        self.critic = critic

    def parts(self):
        return [*super().parts(), self.critic]


def test_a_further_part_has_the_same_hooks_and_may_have_an_optimiser_of_its_own():
    model = build(kind=functools.partial(Criticised, critic=Critic(3)), init="glorot")
    groups = model.parameter_groups()
    assert (list(groups), list(groups["critic"])) == (["model", "critic"], ["lr_critic"])
    assert groups["critic"]["lr_critic"] == list(model.critic.parameters())
    listed = [id(p) for rates in groups.values() for group in rates.values() for p in group]
    assert sorted(listed) == sorted(id(p) for p in model.parameters())
    assert (model.critic.layer.weight == 0.5).all()


def test_pseudo_inputs_have_a_rate_of_their_own():
    model = models.build("vae", SHAPE, prior="vamp", pseudo_inputs=4)
    assert model.parameter_groups()["model"]["lr_pseudo_inputs"] == [model.prior_part.pseudo_inputs]


class Implicit(PosteriorPart):
    density = "none"


class Circular(PriorPart):
    uses_posterior = True


class Through(PosteriorPart):
    uses_prior = True


@pytest.mark.parametrize(
    ("posterior", "prior", "reason"),
    [
        (GaussianPosterior, StandardPrior, ""),
        (GaussianPosterior, Circular, ""),
        (Through, StandardPrior, ""),
        (Through, Circular, "is found through the prior"),
        (Implicit, StandardPrior, "has no density"),
    ],
)
def test_what_goes_together_follows_from_what_the_parts_say(posterior, prior, reason):
    assert mismatch(posterior, prior).startswith(reason)
    assert bool(mismatch(posterior, prior)) == bool(reason)


def test_a_likelihoods_event_is_the_image_whatever_its_axes():
    assert BernoulliLikelihood((2, 1, 8, 8))(torch.zeros(5, 2, 1, 8, 8)).event_shape == (2, 1, 8, 8)
    assert BernoulliLikelihood(SHAPE)(torch.zeros(5, 2, *SHAPE)).batch_shape == (5, 2)


@pytest.mark.parametrize("name", models.names())
def test_a_look_is_the_elbo_and_the_codes_from_one_posterior(name, blobs, monkeypatch):
    shape, found = shape_for(name, SHAPE), []
    model, x = models.build(name, shape, latent=3, hidden=8), blobs(6, shape)
    posterior = VAE.posterior
    monkeypatch.setattr(VAE, "posterior", lambda *given: found.append(given) or posterior(*given))
    torch.manual_seed(5)
    look = model.look(x)
    assert sum(given[1] is x for given in found) == 1  # others are of pseudo-inputs
    torch.manual_seed(5)
    for ours, separate in zip((*look.elbo, look.codes), (*model.elbo(x), model.codes(x))):
        assert torch.equal(ours, separate)
