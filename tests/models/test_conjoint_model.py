"""What is the conjoint models' own: two streams, a code in three parts, the discriminators, and the transfer."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import kl_divergence
from torch.nn.functional import softplus
from torch.testing import assert_close

import models
from models.conjoint import AdditiveDiscriminator, Discriminator
from models.distributions import Gaussian
from models.gaussian import GaussianPosterior

PAIR = (2, 1, 8, 8)
B = 6


def build(**settings):
    torch.manual_seed(0)
    small = {"latent": 3, "private": 2, "hidden": 12, "noise": 5, "noise_hidden": 8, "discriminator_hidden": 16}
    return models.build("conjoint", PAIR, **{**small, **settings}).double()


@pytest.fixture
def x(blobs) -> Tensor:
    return blobs(B, PAIR).double()


@pytest.fixture(params=["gaussian", "adversarial"])
def model(request):
    return build(posterior=request.param)


def draws(model, x: Tensor, n: int = 5) -> Tensor:
    """The same noise at each call, [n, B, Z]."""
    torch.manual_seed(2)
    return model.posterior(x).sample((n,))


# The parts of a code.


def test_slices_name_the_parts_of_a_code_in_its_order(model, x):
    assert model.slices == {"z1": slice(0, 2), "z2": slice(2, 4), "zs": slice(4, 7)}
    assert model.codes(x).shape == (B, 7)
    assert build(private=0).slices == {"z1": slice(0, 0), "z2": slice(0, 0), "zs": slice(0, 3)}


@pytest.mark.parametrize(("stream", "moved"), [(0, {"z1", "zs"}), (1, {"z2", "zs"})])
def test_an_image_says_nothing_of_the_other_ones_private_part(model, x, stream, moved):
    other = x.clone()
    other[:, stream] = 1 - other[:, stream]
    before, after = draws(model, x), draws(model, other)
    different = {name for name, at in model.slices.items() if (before[..., at] != after[..., at]).any()}
    assert different == moved


@pytest.mark.parametrize(("part", "moved"), [("z1", [True, False]), ("z2", [False, True]), ("zs", [True, True])])
def test_an_image_is_made_of_its_own_part_and_of_the_shared_one(model, x, part, moved):
    z = model.codes(x)
    other = z.clone()
    other[:, model.slices[part]] += 1
    different = model.decode(z) != model.decode(other)
    assert different.flatten(2).any(-1).any(0).tolist() == moved


def test_the_kl_is_that_of_the_three_parts(x):
    model = build()
    q = model.posterior(x)
    parts = [Gaussian(q.loc[:, at], q.scale[:, at]) for at in model.slices.values()]
    each = [kl_divergence(part, Gaussian(torch.zeros_like(part.loc), torch.ones_like(part.loc))) for part in parts]
    assert_close(model.elbo(x).kl, sum(each))


def test_single_images_are_refused_with_the_shape_that_is_needed():
    with pytest.raises(models.ModelError, match=r"conjoint: takes pairs of images, \[2, C, H, W\], got \[1, 8, 8\]"):
        models.build("conjoint", (1, 8, 8))


def test_models_that_take_pairs_say_so():
    assert [name for name in models.names() if models.takes_pairs(name)] == ["conjoint"]


# The adversarial kind.


def test_what_only_the_adversarial_kind_has_does_nothing_with_the_other():
    adversarial = {"noise", "noise_hidden", "discriminator", "discriminator_hidden", "discriminator_steps"}
    assert models.idle("conjoint", {"posterior": "gaussian"}) == adversarial
    assert models.idle("conjoint", {"posterior": "adversarial"}) == set()
    assert models.objective("conjoint") == "elbo"
    assert models.objective("conjoint", {"posterior": "adversarial"}) == "log_likelihood"


def test_with_the_true_log_ratio_of_a_gaussian_it_is_the_gaussian_kind(x, monkeypatch):
    """In value and in the decoder's gradient; the encoder's only on average, as the discriminator is held."""
    model, plain = build(posterior="adversarial", beta=1.7), build(beta=1.7)
    model.posterior_part = plain.posterior_part
    model.encoder.load_state_dict(plain.encoder.state_dict())
    model.decoder.load_state_dict(plain.decoder.state_dict())
    q, p = model.posterior(x), model.prior()
    monkeypatch.setattr(model.discriminator, "forward", lambda x, z: q.log_prob(z) - p.log_prob(z))
    torch.manual_seed(3)
    loss = model.loss(x, 0)
    torch.manual_seed(3)
    elbo = plain.elbo(x, 0, kl="sampled")
    expected = (1.7 * elbo.kl - elbo.log_lik).mean()
    assert_close(loss, expected, rtol=1e-10, atol=1e-10)
    ours, theirs = (torch.autograd.grad(m, n.decoder.parameters()) for m, n in ((loss, model), (expected, plain)))
    for gradient, other in zip(ours, theirs):
        assert_close(gradient, other, rtol=1e-10, atol=1e-10)


def test_the_two_streams_have_noise_of_their_own(x):
    model = build(posterior="adversarial")
    q = model.posterior(x)
    noise = torch.randn(9, B, 2, 5).double()
    before, noise[..., 0, :] = q.rsample(noise=noise.clone()), 0.0
    after = q.rsample(noise=noise)
    assert (before[..., 0:2] != after[..., 0:2]).all()
    assert torch.equal(before[..., 2:4], after[..., 2:4])  # z2 has none of the first stream's
    assert (before[..., 4:] != after[..., 4:]).any()


def test_the_discriminator_is_shown_priors_whose_parts_are_independent(x, monkeypatch):
    model, shown = build(posterior="adversarial"), []
    forward = model.discriminator.forward
    monkeypatch.setattr(model.discriminator, "forward", lambda x, z: shown.append(z) or forward(x, z))
    model.discriminator_loss(x.repeat(500, 1, 1, 1, 1), 0)
    [z] = shown
    correlation = torch.corrcoef(z[1].T) - torch.eye(7)
    assert correlation.abs().max() < 5 / len(x.repeat(500, 1, 1, 1, 1)) ** 0.5  # five standard errors
    assert z[1].mean(0).abs().max() < 5 / 3000**0.5


@pytest.mark.parametrize("sees", ["joint", "additive"])
def test_the_discriminator_says_more_and_less_than_nothing(x, sees):
    model, x = build(posterior="adversarial", discriminator=sees), x.repeat(20, 1, 1, 1, 1)
    assert model.discriminator(x, torch.zeros(4, len(x), 7).double()).shape == (4, len(x))
    adam = torch.optim.Adam(model.discriminator.parameters(), 1e-2)
    for _ in range(60):
        adam.zero_grad()
        model.discriminator_loss(x, 0).backward()
        adam.step()
    told = model.discriminator(x, torch.stack([draws(model, x, 1)[0], model.prior().sample((len(x),))]))
    assert told[0].mean() > 0 > told[1].mean()
    assert model.discriminator_loss(x, 0) < 1.2  # 2 log 2 = 1.386 says nothing


def test_only_the_joint_discriminator_sees_what_zs_has_of_both_images_together():
    """x1 and x2 are +-1 and z is their product: no sum of a function of (x1, z) and one of (x2, z) can tell."""
    torch.manual_seed(0)
    signs = torch.randint(2, (512, 2)).float() * 2 - 1
    x, z = signs.reshape(-1, 2, 1, 1, 1), signs.prod(1, keepdim=True) + 0.1 * torch.randn(512, 1)
    reached = {}
    for name, told_by in {
        "joint": Discriminator((2, 1, 1, 1), 1, (32, 32)),
        "additive": AdditiveDiscriminator((2, 1, 1, 1), (0, 0, 1), (32, 32)),
    }.items():
        adam = torch.optim.Adam(told_by.parameters(), 1e-2)
        for _ in range(150):
            other = z[torch.randperm(512)]
            loss = softplus(-told_by(x, z)).mean() + softplus(told_by(x, other)).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
        reached[name] = float(loss.detach())
    # Half of the shuffled z are right by chance: the best is log(3/2) + 1/2 log 3 = 0.955, and 2 log 2 = 1.386 is none.
    assert reached["joint"] < 1.1
    assert reached["additive"] > 1.3


def test_its_measures_are_no_bound_and_the_column_elbo_is_not_theirs(x):
    model = build(posterior="adversarial")
    look = model.look(x)
    found = {measure.name: (measure.kind, take(x, look)) for measure, take in model.measures().items()}
    assert {name: kind for name, (kind, _) in found.items()} == {
        "adversarial_elbo": "estimate",
        "discriminator_saturation": "share",
    }
    assert torch.equal(found["adversarial_elbo"][1], look.elbo.log_lik - look.elbo.kl)
    assert build().measures() == {}


def test_a_discriminator_without_layers_is_refused():
    with pytest.raises(models.ModelError, match="discriminator_hidden: needs a layer at least"):
        build(posterior="adversarial", discriminator_hidden=())


# The transfer.


def test_a_transfer_of_no_steps_is_what_was_given(model, x):
    assert torch.equal(model.transfer(x[:, 0], x[:, 1], 0), x[None, :, 1])


def test_a_transfer_is_a_chain_in_which_the_first_image_stays(model, x, monkeypatch):
    shown, posterior = [], model.posterior
    monkeypatch.setattr(model, "posterior", lambda pair: shown.append(pair) or posterior(pair))
    torch.manual_seed(4)
    chain = model.transfer(x[:, 0], x[:, 1], 3)
    assert chain.shape == (4, B, 1, 8, 8)
    assert (chain.min() >= 0) & (chain.max() <= 1)
    assert not chain.requires_grad
    for n, pair in enumerate(shown):
        assert torch.equal(pair, torch.stack([x[:, 0], chain[n]], 1))
    torch.manual_seed(4)
    z = posterior(x).sample()
    assert torch.equal(chain[1], model.decode(z)[:, 1])


def test_a_transfer_takes_what_scripts_have_and_refuses_what_the_model_does(model):
    first, second = np.zeros((3, 1, 8, 8), np.uint8), np.full((3, 1, 8, 8), 255, np.uint8)
    assert model.transfer(first, second, 1)[0].unique().tolist() == [1.0]
    for wrong in (first[:2], first[..., :7]):
        with pytest.raises(models.ModelError, match=r"\[3, 1, 8, 8\]|\[2, 1, 8, 8\]"):
            model.transfer(first, wrong, 1)


# What each holds as a special case.


def test_without_private_parts_the_code_is_one_gaussian_on_both_features(x):
    model = build(private=0)
    head = GaussianPosterior(model.encoder.features, 3).double()
    head.load_state_dict({key.removeprefix("heads.zs."): v for key, v in model.posterior_part.state_dict().items()})
    assert_close(model.posterior(x).loc, head.at(model.features(x)).loc)
