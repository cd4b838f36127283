"""The mixture of posteriors at pseudo-inputs, against sums by hand and its own draws; the model `vampprior`."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal
from torch.testing import assert_close

import models
from models import vampprior
from models.distributions import Gaussian, SpikeSlab
from models.householder import Reflected
from models.vampprior import SQUASHES, EqualMixture, VampPrior

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


@pytest.mark.parametrize("activation", SQUASHES)
def test_pseudo_inputs_start_where_the_authors_have_them(activation):
    images = VampPrior(SHAPE, pseudo_inputs=200, pseudo_activation=activation).images().detach()
    few = 4 / math.sqrt(images.numel())
    assert images.mean().item() == pytest.approx(0.05, abs=0.01 * few)
    assert images.std().item() == pytest.approx(0.01, rel=0.03)  # 4 standard errors of 12,800 pixels


def test_where_they_start_can_be_said():
    images = VampPrior(SHAPE, pseudo_inputs=200, pseudo_mean=0.4, pseudo_deviation=0.05).images().detach()
    assert images.mean().item() == pytest.approx(0.4, abs=4 * 0.05 / math.sqrt(images.numel()))
    assert images.std().item() == pytest.approx(0.05, rel=0.03)


@pytest.mark.parametrize("activation", SQUASHES)
def test_pseudo_inputs_may_start_from_training_images(activation, blobs):
    part = VampPrior(SHAPE, pseudo_inputs=7, pseudo_start="data", pseudo_activation=activation, pseudo_deviation=1e-9)
    data = blobs(30).double()
    part.fit_statistics(data[:20].split(6))  # some at a time, as training gives them
    distance = (part.images()[:, None] - data).abs().amax((2, 3, 4))  # of each pseudo-input to each image
    nearest = distance.argmin(1)
    assert distance.amin(1).max() < (0.02 if activation == "sigmoid" else 1e-6)  # which cannot reach 0 and 1
    assert len(set(nearest.tolist())) == 7  # another one each
    assert nearest.max() < 20


def test_bytes_are_taken_as_the_images_they_hold():
    part = VampPrior(SHAPE, pseudo_inputs=3, pseudo_start="data", pseudo_deviation=1e-9)
    part.fit_statistics(torch.full((5, *SHAPE), 51, dtype=torch.uint8))
    assert_close(part.images().detach(), torch.full((3, *SHAPE), 0.2), rtol=0, atol=1e-6)


def test_where_there_are_fewer_images_each_is_taken_more_than_once(blobs):
    part, data = VampPrior(SHAPE, pseudo_inputs=7, pseudo_start="data", pseudo_deviation=1e-9), blobs(3).double()
    part.fit_statistics(data)
    nearest = (part.images()[:, None] - data).abs().amax((2, 3, 4)).argmin(1)
    assert sorted(nearest.bincount(minlength=3).tolist()) == [2, 2, 3]


def test_a_random_start_takes_nothing_of_the_training_images(blobs):
    part = VampPrior(SHAPE, pseudo_inputs=3)
    before = part.pseudo_inputs.detach().clone()
    part.fit_statistics(blobs(5))
    assert torch.equal(part.pseudo_inputs, before)


def test_a_clamp_ends_the_gradient_exactly_outside_of_the_unit_interval():
    model = build("gaussian")
    free = torch.linspace(-1, 2, K * 64).reshape(K, *SHAPE)
    with torch.no_grad():
        model.prior_part.pseudo_inputs.copy_(free)
    model.prior().log_prob(torch.randn(B, Z)).sum().backward()
    assert torch.equal(model.prior_part.pseudo_inputs.grad == 0, (free < 0) | (free > 1))


def test_what_is_not_trained_is_a_buffer_that_a_checkpoint_keeps():
    frozen, trained = build("gaussian", pseudo_trainable=False), build("gaussian")
    assert frozen.parameter_groups()["model"]["lr_pseudo_inputs"] == []
    assert trained.parameter_groups()["model"]["lr_pseudo_inputs"] == [trained.prior_part.pseudo_inputs]
    assert frozen.state_dict().keys() == trained.state_dict().keys()
    assert "prior_part.pseudo_inputs" not in dict(frozen.named_parameters())


def test_a_posterior_at_training_is_exact_in_the_prior():
    prior: Tensor = build("spike_slab").prior().components
    assert prior.steepness is None


# What must hold of the mixture.


def test_a_single_standard_normal_component_is_the_standard_prior():
    z = 3 * torch.randn(50, Z)
    one = Gaussian(torch.zeros(1, Z), torch.ones(1, Z))
    standard = Gaussian(torch.zeros(Z), torch.ones(Z))
    assert_close(EqualMixture(one).log_prob(z), standard.log_prob(z), rtol=1e-10, atol=1e-10)


def test_and_so_is_the_whole_model(blobs):
    x, noise = blobs(B).double(), torch.randn(B, Z)
    vamp, standard = (own(prior=prior, pseudo_inputs=1) for prior in ("vamp", "standard"))
    standard.load_state_dict({k: v for k, v in vamp.state_dict().items() if "pseudo" not in k})
    u = vamp.prior_part.images()
    posterior = vamp.posterior
    vamp.posterior = lambda x, step=None: (
        Gaussian(torch.zeros(1, Z), torch.ones(1, Z)) if torch.equal(x, u) else posterior(x, step)
    )
    ours, theirs = (m.elbo(x, 3, kl="sampled", noise=noise) for m in (vamp, standard))
    assert_close(ours.log_lik, theirs.log_lik, rtol=1e-10, atol=1e-10)
    assert_close(ours.kl, theirs.kl, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", POSTERIORS)
def test_components_that_stand_twice_or_elsewhere_change_nothing(kind):
    z = EqualMixture(components(kind)).sample((20,))
    torch.manual_seed(0)
    once = components(kind)
    expected = EqualMixture(once).log_prob(z)
    for order in ([2, 0, 1], [0, 0, 1, 1, 2, 2]):
        torch.manual_seed(0)
        assert_close(EqualMixture(chosen(components(kind), order)).log_prob(z), expected, rtol=1e-12, atol=1e-12)


def chosen(q: Distribution, order: list[int]) -> Distribution:
    """The components of these numbers."""
    if isinstance(q, SpikeSlab):
        return SpikeSlab(q.loc[order], q.scale[order], logits=q.logits[order])
    if isinstance(q, Reflected):
        return Reflected(Gaussian(q.base.loc[order], q.base.scale[order]), [v[order] for v in q.normals])
    return Gaussian(q.loc[order], q.scale[order])


def test_a_sampled_kl_to_one_component_has_the_closed_forms_mean():
    q, p = Gaussian(torch.randn(Z), torch.full((Z,), 0.5)), Gaussian(torch.randn(1, Z), torch.full((1, Z), 1.3))
    z = q.sample((100_000,))
    sampled = q.log_prob(z) - EqualMixture(p).log_prob(z)
    closed = torch.distributions.kl_divergence(q, Gaussian(p.loc[0], p.scale[0]))
    assert (sampled.mean() - closed).abs() < 4 * sampled.std() / math.sqrt(len(z))  # a false alarm in 16,000


def test_every_component_is_drawn_as_often():
    k, n = 20, 20_000
    p = EqualMixture(Gaussian(10.0 * torch.arange(k)[:, None], torch.full((k, 1), 0.1)))
    counts = (p.sample((n,))[:, 0] / 10).round().long().bincount(minlength=k)
    assert ((counts - n / k) ** 2 / (n / k)).sum() < 45.3  # chi-square with 19 degrees: a false alarm in 1,600


def spread(k: int, latent: int) -> tuple[Gaussian, Tensor]:
    """Components as far apart as the replication's figures have latents, +-300, and as narrow as its clip lets them be;
    codes drawn from them, and some between them; all numbers are float32's.
    """
    loc, scale = torch.empty(k, latent).uniform_(-300, 300), torch.empty(k, latent).uniform_(0.05, 2.7)
    near = loc + scale * torch.randn(k, latent)
    codes = torch.cat([near, torch.empty(k, latent).uniform_(-300, 300)])
    return Gaussian(loc.float(), scale.float()), codes.float()


@pytest.mark.parametrize("latent", [2, 40])
def test_the_density_is_exact_in_float32_however_far_latents_spread(latent):
    q, z = spread(50, latent)
    exact = MixtureSameFamily(
        Categorical(torch.ones(50)), Independent(Normal(q.loc.double(), q.scale.double()), 1), validate_args=False
    ).log_prob(z.double())
    assert_close(EqualMixture(q).log_prob(z).double(), exact, rtol=1e-6, atol=1e-4)

    precision = q.scale**-2  # the expansion into matrix products, which would be faster, cannot do that
    squares = z**2 @ precision.T - 2 * z @ (q.loc * precision).T + (q.loc**2 * precision).sum(1)
    constant = q.scale.log().sum(1) + latent / 2 * math.log(2 * math.pi) + math.log(50)
    assert ((-0.5 * squares - constant).logsumexp(1).double() - exact)[:50].abs().max() > 0.1


def test_the_memory_of_many_pseudo_inputs_and_samples_is_bounded(monkeypatch, blobs):
    """500 pseudo-inputs, 5,000 draws of a code of 40: 10^8 numbers for each image, of which 2^20 are there at once."""
    sizes = []
    log_prob, sample = Gaussian.log_prob, Gaussian.sample

    def measured(self, value):
        sizes.append(torch.broadcast_shapes(value.shape, self.loc.shape).numel())
        return log_prob(self, value)

    def drawn(self, sample_shape=()):
        z = sample(self, sample_shape)
        sizes.append(z.numel())
        return z

    monkeypatch.setattr(Gaussian, "log_prob", measured)
    monkeypatch.setattr(Gaussian, "sample", drawn)
    model = own(latent=40, pseudo_inputs=500)
    model.log_weights(blobs(1).double(), 5000)
    assert max(sizes) <= vampprior.ROWS
    assert sum(sizes) > 500 * 5000 * 40
    sizes.clear()
    assert model.prior().sample((5000,)).shape == (5000, 40)
    assert max(sizes) <= vampprior.ROWS


# The model.


def own(**settings):
    return models.build("vampprior", SHAPE, **{"latent": Z, "hidden": 12, "pseudo_inputs": K, **settings})


@pytest.mark.parametrize(("clip", "low", "high"), [("narrow", -6, 2), ("wide", -10, 4), ("none", -100, 100)])
def test_log_variances_are_clipped_without_a_gradient(clip, low, high, blobs):
    model = own(log_var_clip=clip)
    head = model.posterior_part.log_var
    nn.init.zeros_(head.weight)
    with torch.no_grad():
        head.bias.copy_(torch.tensor([-100.0, low + 0.1, high - 0.1, 100.0]))
    q = model.posterior(blobs(1).double())
    assert_close(2 * q.scale.log()[0], torch.tensor([low, low + 0.1, high - 0.1, high]).double())
    (2 * q.scale.log()).sum().backward()
    assert (head.bias.grad != 0).tolist() == [clip == "none", True, True, clip == "none"]


def test_the_standard_prior_has_the_rate_of_the_pseudo_inputs_and_nothing_for_it():
    model = own(prior="standard")
    assert model.parameter_groups()["model"]["lr_pseudo_inputs"] == []
    assert type(model.prior()) is Gaussian


def test_settings_of_what_is_not_chosen_are_not_in_use():
    vamp, sized = models.in_use(own()), models.in_use(own(prior="standard", network="vamp_conv", hidden=8))
    assert vamp["pseudo_inputs"] == K
    assert not {"network_size", "activation"} & set(vamp)
    assert sized["network_size"] == 4.0
    assert not {"pseudo_inputs", "pseudo_start"} & set(sized)


def test_the_networks_own_settings_reach_it():
    def count(**settings) -> int:
        with torch.device("meta"):
            model = models.build("vampprior", (1, 28, 28), latent=2, prior="standard", network="vamp_conv", **settings)
        return sum(p.numel() for p in model.parameters())

    assert count(hidden=256, network_size=1.0) == 415_316 + 22_129  # papers/vampprior.md, section 4: 0.42 M and 0.02 M
    assert count(hidden=256) > count(hidden=256, network_size=2.0)
    assert count(hidden=256, decoder_hidden=9) != count(hidden=256)
    model = own(network="vamp_conv", activation="tanh")
    assert any(isinstance(layer, nn.Tanh) for layer in model.encoder)


@pytest.mark.parametrize("network", ["mlp", "gated", "vamp_conv"])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vampprior", {}),
        ("vampprior", {"prior": "standard", "log_var_clip": "none"}),
        ("vampprior", {"pseudo_activation": "sigmoid", "pseudo_trainable": False}),
        ("hvae", {}),
        ("hvae", {"prior": "standard", "free_bits": 0.1}),
    ],
)
def test_a_step_waits_for_no_number_of_the_device(name, settings, network):
    """On the meta device there is none that could be asked for."""
    with torch.device("meta"):
        model = models.build(name, SHAPE, latent=4, hidden=8, network=network, pseudo_inputs=K, **settings)
        model.loss(torch.rand(B, *SHAPE), 3).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
