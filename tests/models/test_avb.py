"""What is AVB's own: a posterior without a density, the discriminator in its place, and the fitted proposal."""

import math

import pytest
import torch
from test_quadrature import check, log_likelihood
from torch import Tensor
from torch.nn.functional import softplus
from torch.testing import assert_close

import models
from models import memory
from models.avb import MOMENTS, Bank, Discriminator
from models.distributions import Gaussian
from models.gaussian import GaussianPosterior
from models.implicit import DEFENSIVE, NARROWEST, SPREAD, Defensive, fitted

SHAPE = (1, 8, 8)
B, Z = 6, 3
POINTS = torch.eye(4, dtype=torch.float64)[:, None, None]


def build(name: str = "avb", image_shape: tuple[int, int, int] = SHAPE, **settings):
    torch.manual_seed(0)
    small = {"latent": Z, "hidden": 12, "noises": 4, "noise_hidden": 8, "noise": 5, "discriminator_hidden": 16}
    known = {key: value for key, value in small.items() if key in models.hyperparameters(name)}
    return models.build(name, image_shape, **{**known, **settings}).double()


@pytest.fixture
def x(blobs) -> Tensor:
    return blobs(B).double()


@pytest.fixture(params=[True, False], ids=["contrast", "noisy"])
def model(request):
    return build(adaptive_contrast=request.param)


def train(model, x: Tensor, steps: int, lr: float = 3e-3) -> None:
    groups = model.parameter_groups()
    adam = {name: torch.optim.Adam([p for g in group.values() for p in g], lr) for name, group in groups.items()}
    model.budget = steps
    for step in range(steps):
        for optimiser, _, loss in model.updates():
            adam[optimiser].zero_grad()
            loss(x, step).backward(inputs=[p for group in adam[optimiser].param_groups for p in group["params"]])
            adam[optimiser].step()


# Reductions: with the true log-ratio of a Gaussian in T's place it is the VAE.


@pytest.mark.parametrize("contrast", ["prior", "another Gaussian"])
def test_with_the_true_log_ratio_of_a_gaussian_it_is_the_vae(contrast, x, monkeypatch):
    model, plain = build(beta=1.7, kl_warmup=0.5), build("vae", init="glorot", beta=1.7, kl_warmup=0.5)
    model.posterior_part = GaussianPosterior(model.encoder.features, Z).double()
    model.budget = plain.budget = 100
    ours = {key for key in model.state_dict() if not key.startswith("discriminator")}
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if key in ours})
    r = model.prior() if contrast == "prior" else Gaussian(torch.randn(B, Z).double(), torch.rand(B, Z).double() + 0.5)
    monkeypatch.setattr(model, "contrast", lambda q: r)

    def true(x: Tensor, white: Tensor) -> Tensor:
        z = r.loc + r.scale * white
        return model.posterior(x).log_prob(z) - r.log_prob(z)

    monkeypatch.setattr(model.discriminator, "forward", true)
    torch.manual_seed(3)
    loss = model.loss(x, 20)
    torch.manual_seed(3)
    elbo = plain.elbo(x, 20, kl="sampled")
    expected = (plain.beta(20, 100) * elbo.kl - elbo.log_lik).mean()
    assert_close(loss, expected, rtol=1e-10, atol=1e-10)
    gradients = zip(*(torch.autograd.grad(m, n.decoder.parameters()) for m, n in ((loss, model), (expected, plain))))
    for gradient, theirs in gradients:
        assert_close(gradient, theirs, rtol=1e-10, atol=1e-10)


def test_the_discriminator_learns_the_log_ratio_of_a_gaussian():
    torch.manual_seed(0)
    images, deviations = torch.eye(2)[:, None, None], torch.tensor([0.5, 0.9]).expand(2, -1)
    q = Gaussian(torch.tensor([[0.8, 0.0], [-0.8, 0.4]]), deviations)
    p = Gaussian(torch.zeros(2), torch.ones(2))
    discriminator = Discriminator((1, 1, 2), 2, (32, 32))
    discriminator.start("torch")
    adam, steps = torch.optim.Adam(discriminator.parameters(), 2e-3), 400
    for step in range(steps):
        adam.param_groups[0]["lr"] = 2e-3 * (1 - step / steps)
        of_q, of_p = discriminator(images, q.sample((512,))), discriminator(images, p.sample((512, 2)))
        loss = softplus(-of_q).mean() + softplus(of_p).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    z = q.sample((4000,))
    with torch.no_grad():
        learned, true = discriminator(images, z), q.log_prob(z) - p.log_prob(z)
    assert torch.corrcoef(torch.stack([learned.flatten(), true.flatten()]))[0, 1] > 0.98
    assert_close(learned.mean(0), true.mean(0), rtol=0.1, atol=0)  # nats; the KLs of the two images


# The posterior.


def test_there_is_no_density_and_the_error_says_what_stands_in_for_it(model, x):
    q = model.posterior(x)
    with pytest.raises(ValueError, match="has no density; log_weights uses a fitted proposal, and adversarial_elbo"):
        q.log_prob(q.sample())


def test_draws_do_not_depend_on_how_many_are_made_at_once(model, x, monkeypatch):
    def draws() -> Tensor:
        torch.manual_seed(1)
        return model.posterior(x).sample((3, 5))

    whole = draws()
    assert whole.shape == (3, 5, B, Z)
    monkeypatch.setattr(memory, "AT_ONCE", 1)
    assert_close(draws(), whole, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("network", ["mlp", "gated", "conv"])
def test_there_is_noise_in_every_layer(network, x):
    model = build(adaptive_contrast=False, network=network, hidden=(12, 10))
    images = [*model.encoder.images.values(), model.posterior_part.image]
    assert len(images) == sum(isinstance(m, torch.nn.Linear | torch.nn.Conv2d) for m in model.encoder.layers) + 1
    kept = [image.weight.detach().clone() for image in images]
    for only, weight in zip(images, kept):
        for image in images:
            torch.nn.init.zeros_(image.weight)
        assert model.posterior(x).sample((9,)).std(0).max() < 1e-12
        only.weight.data.copy_(weight)
        assert model.posterior(x).sample((9,)).std(0).min() > 0


def test_the_draws_of_an_image_share_what_comes_before_the_noise(x):
    model, seen = build(adaptive_contrast=False), []
    model.encoder.layers[1].register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    noise = torch.randn(4, B, 5).double()
    together = model.posterior(x).rsample(noise=noise)
    assert seen == [B]
    assert_close(together, torch.stack([model.posterior(x).rsample(noise=each) for each in noise]))


def test_an_encoder_without_hidden_layers_has_noise_at_its_output(x):
    model = build(adaptive_contrast=False, hidden=())
    assert model.posterior(x).sample((9,)).std(0).min() > 0


def test_a_bank_is_networks_side_by_side():
    bank = Bank(3, (5, 4, 2)).double()
    given = torch.randn(7, 3, 5).double()
    each = []
    for k in range(3):
        h = given[:, k] @ bank.weights[0][k] + bank.biases[0][k]
        each.append(torch.nn.functional.elu(h) @ bank.weights[1][k] + bank.biases[1][k])
    assert_close(bank(given), torch.stack(each, 1))


def test_moments_are_those_of_draws_from_the_same_noises(x):
    model, n = build(), 100_000
    q = model.posterior(x)
    chosen = torch.randint(MOMENTS, (n, 1, 4)).expand(-1, B, -1)  # each v_i by itself: the noises are independent
    z = q.rsample(noise=model.posterior_part.averaged[chosen, torch.arange(4)]).detach()
    deviation = z.std(0)
    assert ((z.mean(0) - q.mean) / deviation).abs().max() < 5 / math.sqrt(n)
    expected = (MOMENTS - 1) / MOMENTS * (q.contrast.scale**2 - NARROWEST)  # of n noises, and not of their population
    assert_close(deviation**2, expected, rtol=0.05, atol=0)
    centred = (z - z.mean(0)) / deviation
    found = torch.einsum("sbi,sbj->bij", centred, centred) / n
    scaled = (MOMENTS - 1) / MOMENTS * q.covariance().detach() / (deviation[:, :, None] * deviation[:, None])
    assert_close(scaled, found, rtol=0, atol=0.03)
    assert not q.contrast.loc.requires_grad
    assert not q.contrast.scale.requires_grad
    assert q.mean.requires_grad


# The discriminator.


def told(form: str, z: Tensor) -> Tensor:
    torch.manual_seed(0)
    discriminator = Discriminator(SHAPE, Z, (16,), form)
    discriminator.start("torch")
    for p in discriminator.parameters():
        torch.nn.init.normal_(p)
    return discriminator(torch.rand(B, *SHAPE), z)


def test_only_the_full_form_can_be_negative():
    z = torch.randn(1000, B, Z)
    assert told("full", z).min() < 0
    assert told("relu_dot", z).min() >= 0


def test_it_starts_as_the_negative_log_prior_up_to_a_constant(x):
    z = torch.randn(5, B, Z).double()
    t, p = build().discriminator(x, z), build().prior().log_prob(z)
    assert_close(t + p, torch.full_like(t, -0.5 * Z * math.log(2 * math.pi)), rtol=0, atol=1e-3)


def test_its_loss_moves_it_alone_and_the_models_loss_holds_it(model, x):
    model.discriminator_loss(x, 0).backward()
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None} == {"discriminator"}
    groups = model.parameter_groups()
    assert {name: list(rates) for name, rates in groups.items()} == {
        "model": ["lr"],
        "discriminator": ["lr_discriminator"],
    }
    assert groups["discriminator"]["lr_discriminator"] == list(model.discriminator.parameters())
    assert model.own_settings() == {"lr_discriminator": 2e-4, "betas_discriminator": (0.5, 0.999)}


def test_it_takes_as_many_steps_as_it_is_given():
    names = [update.name for update in build(discriminator_steps=3).updates()]
    assert names == ["adversarial elbo", *["density ratio"] * 3]


def test_the_estimate_of_the_kl_is_that_of_the_adaptive_contrast(x):
    model = build()
    q, noise = model.posterior(x), torch.randn(B, 4, 5).double()
    z, r = q.rsample(noise=noise), q.contrast
    expected = model.discriminator(x, (z - r.loc) / r.scale) + r.log_prob(z) - model.prior().log_prob(z)
    assert_close(model.elbo(x, noise=noise).kl, expected)


def test_what_is_told_beyond_doubt_is_measured_and_said(x):
    model = build()
    look = model.look(x)

    def numbers() -> dict[str, float]:
        return {measure.name: take(x, look).mean().item() for measure, take in model.measures().items()}

    found = numbers()
    assert list(found) == ["adversarial_elbo", "discriminator_saturation"]
    assert found["adversarial_elbo"] == pytest.approx((look.elbo.log_lik - look.elbo.kl).mean().item())
    assert found["discriminator_saturation"] < 0.99
    [symptom] = [symptom for symptom in model.symptoms() if symptom.pathology == "saturated"]
    assert symptom.excess(found[symptom.measure]) < 0
    model.discriminator.forward = lambda x, z: torch.tensor([[7.0], [-7.0]]).expand(-1, B)  # q's draws, then r's
    assert numbers()["discriminator_saturation"] == 1.0
    assert symptom.excess(numbers()[symptom.measure]) == pytest.approx(1)
    model.discriminator.forward = lambda x, z: torch.tensor([[7.0], [7.0]]).expand(-1, B)  # of r's it is wrong
    assert numbers()["discriminator_saturation"] == 0.5


# The proposal.


def test_a_proposal_has_the_mean_and_a_wider_covariance(model, x):
    q = model.posterior(x)
    loc, covariance = (moment.detach() for moment in q.moments())
    z = q.sample((20_000,))
    deviation = z.std(0)
    # Moments are those of a few hundred draws or noises, of which the mean is known to a tenth of a deviation.
    assert ((z.mean(0) - loc) / deviation).abs().max() < 0.5
    assert_close(covariance.diagonal(dim1=1, dim2=2).sqrt() / deviation, torch.ones_like(deviation), rtol=0, atol=0.5)
    near = model.proposal(x).near
    if q.covariance is not None:
        assert_close(near.loc, loc)
        assert_close(near.covariance, SPREAD * covariance + NARROWEST * torch.eye(Z).double(), rtol=1e-8, atol=1e-10)
    many = fitted(torch.zeros(B, 30), torch.eye(30).expand(B, -1, -1))
    assert_close(many.scale, torch.full((B, 30), math.sqrt(SPREAD + NARROWEST)))


def test_a_posterior_that_is_a_point_has_a_proposal():
    near = fitted(torch.zeros(B, Z), torch.zeros(B, Z, Z))
    assert_close(near.covariance, NARROWEST * torch.eye(Z).expand(B, -1, -1), rtol=1e-3, atol=0)


def test_a_share_of_the_prior_bounds_the_weights():
    near, wide = Gaussian(torch.full((B, Z), 2.0), torch.full((B, Z), 0.1)), Gaussian(torch.zeros(Z), torch.ones(Z))
    r, n = Defensive(near, wide), 50_000
    z = r.sample((n,))
    assert z.shape == (n, B, Z)
    assert (wide.log_prob(z) - r.log_prob(z)).max() <= -math.log(DEFENSIVE) + 1e-5
    density = (1 - DEFENSIVE) * near.log_prob(z).exp() + DEFENSIVE * wide.log_prob(z).exp()
    assert_close(r.log_prob(z), density.log(), rtol=1e-4, atol=1e-4)
    drawn = ((z - 2).abs() > 1).any(-1).double().mean(0)  # ten deviations off: of the prior
    missed = float(((wide.sample((n,)) - 2).abs() > 1).any(-1).double().mean())
    assert ((drawn - DEFENSIVE * missed).abs() < 5 * math.sqrt(DEFENSIVE / n)).all()


@pytest.mark.parametrize("adaptive_contrast", [True, False])
def test_on_the_four_points_the_likelihood_is_the_integral_and_at_most_the_entropy(adaptive_contrast):
    model = build(image_shape=(1, 1, 4), latent=2, hidden=16, adaptive_contrast=adaptive_contrast)
    train(model, POINTS.repeat(25, 1, 1, 1), steps=200)
    log_p, outside = log_likelihood(model, POINTS, step=0.05, extent=8.0)
    assert outside.max() < 1e-6
    torch.manual_seed(3)
    log_w = model.log_weights(POINTS, 20_000)
    check(log_w, log_p)
    found = float((log_w.logsumexp(0) - math.log(len(log_w))).mean())
    assert -2.6 < found <= -math.log(4) + 0.01  # -2.77 is four pixels of half a chance
