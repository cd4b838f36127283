"""The likelihoods against scipy and brute force, in float64; 1e-12 is rounding."""

import math

import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.testing import assert_close

import models
from models.likelihoods import DiscretizedLogistic, Likelihood, likelihood_part

pytestmark = pytest.mark.usefixtures("float64")

SHAPE = (2, 3, 4)
SETTINGS = [
    ("bernoulli", "learned"),
    ("gaussian", 0.3),
    ("gaussian", "learned"),
    ("gaussian", "per_pixel"),
    ("logistic", "learned"),
]


def output_of(part: Likelihood, *batch: int) -> Tensor:
    """A decoder's output, [*batch, P * C, H, W]."""
    return 2 * torch.randn(*batch, part.parameters_per_pixel * SHAPE[0], *SHAPE[1:])


@pytest.mark.parametrize(("name", "sigma"), SETTINGS)
def test_batch_and_event_shapes(name, sigma):
    part = likelihood_part(name, SHAPE, sigma)
    p = part(output_of(part, 7, 5))
    assert (p.batch_shape, p.event_shape) == ((7, 5), SHAPE)
    assert p.log_prob(torch.rand(5, *SHAPE)).shape == (7, 5)
    assert p.mean.shape == (7, 5, *SHAPE)
    assert p.sample().shape == (7, 5, *SHAPE)


def test_bernoulli_of_binary_images_equals_scipy():
    part = likelihood_part("bernoulli", SHAPE, "learned")
    logits, x = output_of(part, 5), torch.randint(2, (5, *SHAPE)).double()
    expected = scipy.stats.bernoulli.logpmf(x.numpy(), logits.sigmoid().numpy()).sum((1, 2, 3))
    assert_close(part(logits).log_prob(x), torch.from_numpy(expected), rtol=1e-12, atol=1e-12)
    assert_close(part(logits).mean, logits.sigmoid())


def test_bernoulli_of_grey_images_is_a_soft_cross_entropy():
    part = likelihood_part("bernoulli", SHAPE, "learned")
    logits, x = output_of(part, 5), torch.rand(5, *SHAPE)
    p = logits.sigmoid()
    expected = (x * p.log() + (1 - x) * (1 - p).log()).sum((1, 2, 3))
    assert_close(part(logits).log_prob(x), expected, rtol=1e-12, atol=1e-12)


def test_bernoulli_holds_out_where_the_sigmoid_rounds_to_one():
    part = likelihood_part("bernoulli", SHAPE, "learned")
    log_lik = part(torch.full((1, *SHAPE), 500.0)).log_prob(torch.zeros(1, *SHAPE))
    assert_close(log_lik, torch.tensor([-500.0 * math.prod(SHAPE)]))


def test_gaussian_with_a_number_equals_scipy():
    part = likelihood_part("gaussian", SHAPE, 0.3)
    output, x = output_of(part, 5), torch.rand(5, *SHAPE)
    expected = scipy.stats.norm.logpdf(x.numpy(), output.numpy(), 0.3).sum((1, 2, 3))
    assert_close(part(output).log_prob(x), torch.from_numpy(expected), rtol=1e-12, atol=1e-12)
    assert not list(part.parameters())


def test_a_fixed_sigma_survives_a_cast_from_float32():
    torch.set_default_dtype(torch.float32)  # as everybody builds; the fixture puts it back
    part = likelihood_part("gaussian", SHAPE, 0.3).double()
    assert_close(part(output_of(part, 5).double()).variance, torch.full((5, *SHAPE), 0.09).double())


@pytest.mark.parametrize("sigma", [0.3, "learned"])
def test_an_expanded_gaussian_is_the_same_for_all(sigma):
    part = likelihood_part("gaussian", SHAPE, sigma)
    p, x = part(output_of(part, 1)), torch.rand(5, *SHAPE)
    wide = p.expand((7, 5))
    assert (wide.batch_shape, wide.event_shape) == ((7, 5), SHAPE)
    assert_close(wide.log_prob(x), p.log_prob(x).expand(7, 5), rtol=0, atol=0)


def test_gaussian_with_a_learned_sigma_equals_scipy():
    part = likelihood_part("gaussian", SHAPE, "learned")
    torch.nn.init.constant_(part.log_var, 2 * math.log(0.4))
    output, x = output_of(part, 5), torch.rand(5, *SHAPE)
    expected = scipy.stats.norm.logpdf(x.numpy(), output.numpy(), 0.4).sum((1, 2, 3))
    assert_close(part(output).log_prob(x), torch.from_numpy(expected), rtol=1e-12, atol=1e-12)


def test_gaussian_by_pixel_reads_means_then_log_deviations():
    part = likelihood_part("gaussian", SHAPE, "per_pixel")
    output, x = output_of(part, 5), torch.rand(5, *SHAPE)
    loc, log_sigma = output[:, : SHAPE[0]].numpy(), output[:, SHAPE[0] :]
    expected = scipy.stats.norm.logpdf(x.numpy(), loc, log_sigma.exp().numpy()).sum((1, 2, 3))
    assert_close(part(output).log_prob(x), torch.from_numpy(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.3, "learned", "per_pixel"])
def test_gaussian_starts_from_the_mean_training_image(sigma):
    part, images = likelihood_part("gaussian", SHAPE, sigma), torch.rand(40, *SHAPE)
    part.fit_statistics(images)
    nothing = torch.zeros(1, part.parameters_per_pixel * SHAPE[0], *SHAPE[1:])
    assert_close(part(nothing).mean[0], images.mean(0))
    assert "mean_image" in part.state_dict()  # travels with checkpoint and export


def test_a_learned_sigma_starts_where_the_training_images_are_likeliest():
    part, images = likelihood_part("gaussian", SHAPE, "learned"), torch.rand(40, *SHAPE)
    part.fit_statistics(images)
    part(torch.zeros(40, *SHAPE)).log_prob(images).mean().backward()
    assert_close(part.log_var.grad, torch.zeros(1), rtol=0, atol=1e-12)
    assert_close(part.log_var.exp(), (images - images.mean(0)).square().mean()[None])


def test_statistics_of_bytes_are_those_of_the_images_they_hold():
    images = torch.randint(256, (2500, *SHAPE), dtype=torch.uint8)  # more than are taken at once
    of_bytes, of_floats = (likelihood_part("gaussian", SHAPE, "learned") for _ in range(2))
    of_bytes.fit_statistics(images)
    of_floats.fit_statistics(images.double() / 255)
    assert_close(of_bytes.mean_image, images.double().mean(0) / 255, rtol=1e-12, atol=0)
    assert_close(
        of_bytes.log_var.exp(), (images / 255.0 - of_bytes.mean_image).square().mean()[None], rtol=1e-12, atol=0
    )
    assert_close(of_bytes.state_dict(), of_floats.state_dict(), rtol=1e-12, atol=0)


def test_fit_statistics_leaves_the_other_likelihoods_alone():
    for name in ("bernoulli", "logistic"):
        part = likelihood_part(name, SHAPE, "learned")
        part.fit_statistics(torch.rand(40, *SHAPE))
        assert not part.state_dict()


BINS = torch.arange(256, dtype=torch.float64) / 255


@pytest.mark.parametrize("loc", [-0.3, 0.0, 0.37, 0.5, 1.0, 1.4])
@pytest.mark.parametrize("log_scale", [-7.0, -3.0, 0.0, 2.0])
def test_discretised_logistic_masses_sum_to_one(loc, log_scale):
    p = DiscretizedLogistic(torch.tensor(loc), torch.tensor(log_scale))
    assert_close(p.log_prob(BINS).exp().sum(), torch.tensor(1.0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("log_scale", [-4.0, -2.0, 0.0])
def test_discretised_logistic_masses_are_differences_of_the_distribution_function(log_scale):
    loc = 0.37
    edges = (BINS[:-1] + 0.5 / 255).numpy()
    below = scipy.stats.logistic.cdf(edges, loc, math.exp(log_scale))
    expected = torch.from_numpy(below).diff(prepend=torch.zeros(1), append=torch.ones(1))
    p = DiscretizedLogistic(torch.tensor(loc), torch.tensor(log_scale))
    assert_close(p.log_prob(BINS).exp(), expected, rtol=0, atol=1e-14)  # scipy's side cancels to 1e-16


def test_discretised_logistic_keeps_its_precision_far_out():
    loc, scale = torch.tensor(0.0, requires_grad=True), torch.tensor(-7.0, requires_grad=True)
    value = DiscretizedLogistic(loc, scale).log_prob(torch.tensor(200 / 255))
    s = math.exp(-7)  # far above loc the tail is exp(-t / s), so a bin from a to b has exp(-a / s) - exp(-b / s)
    expected = -(199.5 / 255) / s + math.log(-math.expm1(-1 / 255 / s))
    assert value.item() == pytest.approx(expected, rel=1e-12)
    assert all(torch.isfinite(g) for g in torch.autograd.grad(value, (loc, scale)))


def test_discretised_logistic_mean_is_an_image():
    p = DiscretizedLogistic(torch.tensor([-0.3, 0.37, 1.4]), torch.tensor(-3.0))
    assert_close(p.mean, torch.tensor([0.0, 0.37, 1.0]))


def test_discretised_logistic_draws_follow_its_masses():
    n = 20_000
    p = DiscretizedLogistic(torch.tensor([-0.1, 0.3, 0.9]), torch.tensor([-1.0, -2.0, -3.0]))
    draws = p.sample((n,))
    assert set((draws * 255).round().unique().tolist()) <= set(range(256))
    masses = p.log_prob(BINS[:, None]).exp()
    for low, high in [(0, 0), (0, 63), (64, 127), (128, 254), (255, 255)]:
        mass = masses[low : high + 1].sum(0)
        share = ((draws >= BINS[low] - 1e-9) & (draws <= BINS[high] + 1e-9)).double().mean(0)
        # 4 standard errors and one draw: 15 comparisons, a false alarm in 1,000 streams of random numbers
        assert ((share - mass).abs() <= 4 * (mass * (1 - mass) / n).sqrt() + 1 / n).all()


@pytest.mark.parametrize("log_scale", [-4.5, -2.0, 0.0])
def test_closed_edges_have_bins_of_a_256th_and_no_tails(log_scale):
    loc, scale, x = 0.37, math.exp(log_scale), torch.arange(256) / 256
    p = DiscretizedLogistic(torch.tensor(loc), torch.tensor(log_scale), edges="closed")
    below = scipy.stats.logistic.cdf(torch.arange(257).numpy() / 256, loc, scale)
    masses = torch.from_numpy(below[1:] - below[:-1])
    assert_close(p.log_prob(x).exp(), masses + 1e-7, rtol=1e-9, atol=1e-13)
    assert torch.equal(p.log_prob(x + 0.4 / 256), p.log_prob(x))  # all of a bin is one value
    assert torch.equal(p.log_prob(torch.arange(256) / 255), p.log_prob(x))  # grey levels as they are given here


def test_closed_edges_draw_what_their_bins_hold():
    p = DiscretizedLogistic(torch.tensor(0.9), torch.tensor(-3.0), edges="closed")
    z = p.sample((20_000,))
    assert torch.equal(z * 256, (z * 256).round())
    share = ((z >= 0.5) & (z < 0.95)).double().mean()  # 0.95 lies in a bin that begins at 243/256
    expected = scipy.stats.logistic.cdf([0.5, 244 / 256], 0.9, math.exp(-3.0))
    assert abs(share - (expected[1] - expected[0])) < 4 * math.sqrt(0.25 / 20_000)


def test_closed_edges_bring_the_clamps_of_their_code():
    part = likelihood_part("logistic", (1, 1, 1), "learned", edges="closed")
    far = part(torch.tensor([[[-50.0]], [[-50.0]]])).base_dist
    assert (far.loc.item(), far.log_scale.item()) == (1 / 512, -4.5)
    far = part(torch.tensor([[[50.0]], [[50.0]]])).base_dist
    assert (far.loc.item(), far.log_scale.item()) == (1 - 1 / 512, 0.0)


@pytest.mark.parametrize("name", ["bernoulli", "gaussian"])
def test_edges_are_for_bins(name):
    with pytest.raises(
        models.ModelError, match=f"vae: edges: only the logistic likelihood has bins .*, this .* {name}"
    ):
        models.build("vae", (1, 8, 8), likelihood=name, edges="closed")


def test_logistic_likelihood_reads_locations_then_log_scales():
    part = likelihood_part("logistic", SHAPE, "learned")
    output, x = 5 * output_of(part, 5), torch.randint(256, (5, *SHAPE)) / 255
    assert output.min() < -10  # beyond the clamp at both ends
    assert output.max() > 1
    loc, log_scale = output[:, : SHAPE[0]].sigmoid(), output[:, SHAPE[0] :].clamp(-7, 0)
    pixels = [DiscretizedLogistic(a, b).log_prob(c) for a, b, c in zip(loc.flatten(), log_scale.flatten(), x.flatten())]
    expected = torch.stack(pixels).reshape(5, -1).sum(1)
    assert_close(part(output).log_prob(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "sigma"), SETTINGS)
def test_kind_of_the_bound(name, sigma):
    part = likelihood_part(name, SHAPE, sigma)
    kinds = {
        "bernoulli": ("bound", "soft cross-entropy", "soft cross-entropy"),
        "gaussian": ("density of grey levels", "density of grey levels", "bound"),
        "logistic": ("bound", "bound", "bound"),
    }
    assert tuple(part.kind(pixels) for pixels in ("binary", "grey", "dequantised")) == kinds[name]


@pytest.mark.parametrize(("name", "sigma"), SETTINGS)
def test_images_of_a_model_lie_in_the_unit_interval(name, sigma):
    model = models.build("vae", SHAPE, latent=3, hidden=8, likelihood=name, sigma=sigma)
    torch.nn.init.normal_(model.decoder[-2].weight, std=5.0)  # so that unclamped means would leave [0, 1]
    for images in (model.reconstruct(torch.rand(20, *SHAPE)), model.sample(20)):
        assert images.shape == (20, *SHAPE)
        assert images.min() >= 0
        assert images.max() <= 1
        assert images.std() > 0.1


# The quadratic model of log p(x|output).


@pytest.mark.parametrize(
    "settings", [("bernoulli", "learned"), ("gaussian", "learned"), ("gaussian", 0.3), ("gaussian", 0.3, 0.05)], ids=str
)
def test_quadratic_is_gradient_and_fisher_information(settings):
    name, sigma, *logit = settings
    part, x = likelihood_part(name, SHAPE, sigma, *logit), torch.rand(5, *SHAPE)
    part.fit_statistics(torch.rand(40, *SHAPE))
    part.check_quadratic()
    output = output_of(part, 5)
    score, information = part.quadratic(output, x)

    def log_lik(output: Tensor) -> Tensor:
        return part(output).log_prob(x).sum()

    assert_close(score, torch.func.grad(log_lik)(output), rtol=1e-11, atol=1e-11)
    # Neither's curvature depends on x, so that the Fisher information is minus the second derivative.
    second = torch.func.grad(lambda output: torch.func.grad(log_lik)(output).sum())(output)
    floor = 1e-5 if name == "bernoulli" else 0.0
    assert_close(information.expand_as(second), -second + floor, rtol=1e-9, atol=1e-11)
    variance = part.common_variance()
    assert (variance is None) == (name == "bernoulli")
    if variance is not None:
        assert_close(1 / variance, information)


def test_the_information_of_bernoulli_pixels_never_vanishes():
    score, information = likelihood_part("bernoulli", SHAPE, "learned").quadratic(torch.tensor([-200.0, 200.0]), 1.0)
    assert_close(score, torch.tensor([1.0, 0.0]))
    assert_close(information, torch.full((2,), 1e-5 * (1 - 1e-5) + 1e-5))


@pytest.mark.parametrize(("name", "sigma"), [("logistic", "learned"), ("gaussian", "per_pixel")])
def test_what_has_no_quadratic_model_says_so(name, sigma):
    part = likelihood_part(name, SHAPE, sigma)
    with pytest.raises(ValueError, match="bernoulli pixels, or gaussian ones with one sigma for all"):
        part.check_quadratic()
    assert part.common_variance() is None
