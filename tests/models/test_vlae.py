"""What is the Laplace autoencoder's own: the decoder's Jacobian, the search for the mode, one factor a step."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import models
from models import base, vlae

SHAPE = (1, 8, 8)
Z = 4


def build(image_shape=SHAPE, **settings):
    return models.build("vlae", image_shape, **{"latent": Z, "hidden": (12, 10), **settings}).double()


@pytest.fixture
def x(blobs) -> Tensor:
    return blobs(20).double()


def log_joint(model, x: Tensor, z: Tensor) -> Tensor:
    """log p(x, z), [B]."""
    return model.likelihood(z).log_prob(x) + model.prior().log_prob(z)


def linearised(decoder, z: Tensor) -> tuple[Tensor, Tensor]:
    """The decoder's output, and its Jacobian."""
    layers = list(decoder.children())
    outputs = vlae.activations(layers, z)
    return outputs[-1], vlae.jacobian(layers, z, outputs)


def precision_at(model, x: Tensor, mu: Tensor, uses: int = 1) -> Tensor:
    return vlae.precision_around(model, x, uses)(mu, vlae.activations(model.decoder.children(), mu))


# The Jacobian.


@pytest.mark.parametrize(
    ("image_shape", "network", "hidden"),
    [
        ((1, 8, 8), "mlp", ()),
        ((1, 8, 8), "mlp", 9),
        ((1, 8, 8), "mlp", (12, 10)),
        ((1, 8, 8), "conv", (12,)),
        ((3, 12, 20), "conv", (12, 10)),
        ((2, 9, 17), "conv", ()),
    ],
)
def test_the_jacobian_is_autograds(image_shape, network, hidden):
    decoder = build(image_shape, network=network, hidden=hidden).decoder
    z = torch.randn(6, Z, dtype=torch.float64)
    output, jacobian = linearised(decoder, z)
    expected = torch.stack([torch.func.jacrev(lambda one: decoder(one[None])[0])(row) for row in z])
    assert_close(output, decoder(z), rtol=0, atol=0)
    assert jacobian.shape == (6, Z, *image_shape)
    assert_close(jacobian, expected.movedim(-1, 1), rtol=0, atol=1e-12)
    assert jacobian.abs().max() > 0.01
    if hidden != ():
        assert not torch.equal(jacobian[0], jacobian[1])  # its masks are each code's own


def test_relu_masks_are_constants_for_autograd():
    decoder = build().decoder
    z = torch.randn(6, Z, dtype=torch.float64, requires_grad=True)
    _, jacobian = linearised(decoder, z)
    _, *of_weights = torch.autograd.grad(jacobian.square().sum(), [z, *decoder.parameters()], allow_unused=True)
    given = {name for (name, _), g in zip(decoder.named_parameters(), of_weights) if g is not None and g.any()}
    assert given == {"0.weight", "2.weight", "4.weight"}


def test_a_layer_whose_jacobian_is_not_known_is_refused():
    with pytest.raises(TypeError, match="Tanh"):
        linearised(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh()), torch.zeros(1, 2))


# Lambda and the gradient.


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize(
    "settings",
    [
        {"likelihood": "bernoulli"},
        {"likelihood": "gaussian"},
        {"likelihood": "gaussian", "sigma": 0.3},
        {"likelihood": "gaussian", "logit": 0.05},
    ],
    ids=str,
)
@pytest.mark.parametrize("way", ["gram", "jacobian"])
def test_precision_and_gradient_are_the_derivatives_of_the_joint_density(network, settings, way, x, monkeypatch):
    monkeypatch.setattr(vlae, "gram_is_cheaper", lambda *sizes: way == "gram")
    model, x = build(network=network, **settings), x[:6]
    model.fit_statistics(x)
    mu = torch.randn(6, Z, dtype=torch.float64)
    precision, layers = precision_at(model, x, mu), list(model.decoder.children())
    outputs = vlae.activations(layers, mu)
    gradient = vlae.pulled(layers, outputs, model.likelihood_part.quadratic(outputs[-1], x)[0])

    def joint(z: Tensor, image: Tensor) -> Tensor:
        return log_joint(model, image[None], z[None])[0]

    def first(z: Tensor) -> Tensor:
        return torch.stack([torch.func.grad(joint)(row, image) for row, image in zip(z, x)])

    hessian = torch.stack([torch.func.jacrev(torch.func.grad(joint))(row, image) for row, image in zip(mu, x)])
    if settings["likelihood"] == "bernoulli":  # whose information has a floor
        _, jacobian = linearised(model.decoder, mu)
        hessian = hessian - 1e-5 * jacobian.flatten(2) @ jacobian.flatten(2).mT
    assert_close(precision, -hessian, rtol=1e-11, atol=1e-11)
    assert_close(gradient - mu, first(mu), rtol=1e-11, atol=1e-11)


def test_both_ways_have_the_same_loss_and_gradients(x, monkeypatch):
    model = build(likelihood="gaussian")
    model.fit_statistics(x)
    found = []
    for gram in (True, False):
        monkeypatch.setattr(vlae, "gram_is_cheaper", lambda *sizes, gram=gram: gram)
        loss = model.elbo(x, 0, noise=torch.ones(len(x), Z, dtype=torch.float64)).kl.sum()
        found.append((loss, *torch.autograd.grad(loss, list(model.parameters()))))
    assert_close(found[0], found[1], rtol=1e-10, atol=1e-10)


def flops(pixels: int, batch: int, updates: int, gram: bool, monkeypatch) -> int:
    """What Lambda costs at all of a search's codes, as torch counts it."""
    monkeypatch.setattr(vlae, "gram_is_cheaper", lambda *sizes: gram)
    with torch.device("meta"):  # counting needs no numbers
        model = models.build("vlae", (1, 1, pixels))
        x, mu = torch.empty(batch, 1, 1, pixels), torch.empty(batch, 50)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            precision = vlae.precision_around(model, x, uses=updates + 1)
            outputs = vlae.activations(model.decoder.children(), mu)
            for _ in range(updates + 1):
                precision(mu, outputs)
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("pixels", "batch", "updates", "gram"),
    [
        (784, 128, 4, True),
        (784, 128, 0, True),
        (784, 10, 4, True),  # W^T W serves five codes, or one
        (784, 8, 0, False),
        (784, 1, 4, False),
        (3072, 128, 4, True),
        (3072, 128, 0, True),
        (3072, 1, 4, False),
        (256, 128, 4, False),
    ],
)
def test_the_cheaper_way_is_taken(pixels, batch, updates, gram, monkeypatch):
    by_gram, by_jacobian = (flops(pixels, batch, updates, way, monkeypatch) for way in (True, False))
    assert gram == (by_gram < by_jacobian)
    monkeypatch.undo()
    calls = []
    monkeypatch.setattr(vlae, "_by_jacobian", lambda *arguments: calls.append(arguments))
    with torch.device("meta"):
        model = models.build("vlae", (1, 1, pixels))
        x, mu = torch.empty(batch, 1, 1, pixels), torch.empty(batch, 50)
        precision_at(model, x, mu, uses=updates + 1)
    assert bool(calls) == (not gram)


def test_a_bernoulli_decoder_and_a_convolutional_one_have_no_gram_form(x, monkeypatch):
    monkeypatch.setattr(vlae, "gram_is_cheaper", lambda *sizes: pytest.fail("asked for the cheaper of one way"))
    for settings in ({"likelihood": "bernoulli"}, {"likelihood": "gaussian", "network": "conv"}):
        build(**settings).posterior(x)


# The search.


def test_the_mean_step_is_the_one_of_the_local_linear_model(x):
    model = build(likelihood="gaussian", sigma=0.3, updates=3, update_rate=0.7, damping="geometric")
    model.fit_statistics(x)
    path = model.posterior_part.search(model, x)
    for t, (q, following) in enumerate(itertools.pairwise(path)):
        output, jacobian = linearised(model.decoder, q.loc)
        j = jacobian.flatten(2).mT  # [B, D, Z]
        a = (model.likelihood_part.mean_image + output).flatten(1)
        # The mode under the linear decoder a + J (z - mu): the mean of probabilistic PCA's posterior.
        shifted = (x.flatten(1) - a + (j @ q.loc[..., None])[..., 0]) / 0.3**2
        precision = j.mT @ j / 0.3**2 + torch.eye(Z, dtype=torch.float64)
        pca = torch.linalg.solve(precision, (j.mT @ shifted[..., None])[..., 0])
        rate = 0.7 * 0.9**t
        assert_close(following.loc, (1 - rate) * q.loc + rate * pca, rtol=1e-10, atol=1e-10)


def straightforward(model, x: Tensor) -> tuple[Tensor, Tensor]:
    """mu_T and Lambda(mu_T) as the formulae stand, with every Jacobian made by autograd and a gradient through all."""

    def around(mu: Tensor) -> tuple[Tensor, Tensor]:
        jacobian = torch.func.vmap(torch.func.jacrev(lambda z: model.decoder(z[None])[0].flatten()))(mu)  # [B, D, Z]
        score, information = model.likelihood_part.quadratic(model.decoder(mu), x)
        weighted = jacobian * information.expand(x.shape).flatten(1)[..., None]
        precision = jacobian.mT @ weighted + torch.eye(Z, dtype=x.dtype)
        return precision, (jacobian.mT @ score.flatten(1)[..., None])[..., 0]

    mu = model.posterior_part.mu(model.features(x))
    for rate in model.posterior_part.rates:
        precision, gradient = around(mu)
        mu = mu + rate * torch.linalg.solve(precision, gradient - mu)
    return mu, around(mu)[0]


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize(
    "settings",
    [{"likelihood": "bernoulli"}, {"sigma": "learned"}, {"sigma": 0.3}, {"sigma": "learned", "logit": 0.05}],
    ids=str,
)
@pytest.mark.parametrize("way", ["gram", "jacobian"])
def test_the_search_and_its_gradient_are_those_of_the_straightforward_formula(network, settings, way, x, monkeypatch):
    monkeypatch.setattr(vlae, "gram_is_cheaper", lambda *sizes: way == "gram")
    model, x = build(network=network, updates=3, **settings), x[:6]
    model.fit_statistics(x)
    q = model.posterior(x, 0)
    mu, precision = straightforward(model, x)
    assert_close(q.loc, mu, rtol=1e-9, atol=1e-9)
    assert_close(q.factor @ q.factor.mT, precision, rtol=1e-9, atol=1e-9)

    of_mu, of_precision = torch.randn_like(mu), torch.randn_like(precision)  # any function's gradient at the two
    given = [
        torch.autograd.grad((a * of_mu).sum() + (b * of_precision).sum(), list(model.parameters()))
        for a, b in ((q.loc, q.factor @ q.factor.mT), (mu, precision))
    ]
    assert_close(given[0], given[1], rtol=1e-9, atol=1e-9)
    assert all(g.any() for g in given[1])


@pytest.mark.parametrize(
    ("damping", "rates"),
    [("harmonic", [0.6, 0.3, 0.2, 0.15]), ("geometric", [0.6, 0.54, 0.486, 0.4374]), ("constant", [0.6] * 4)],
)
def test_damping(damping, rates):
    assert build(updates=4, update_rate=0.6, damping=damping).posterior_part.rates == pytest.approx(rates)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_step_vanishes_at_a_fixed_point(likelihood, x):
    model = build(likelihood=likelihood, sigma=0.5, updates=100, update_rate=0.5, damping="constant", init="torch")
    path = model.posterior_part.search(model, x)
    still = (path[-1].loc - path[-2].loc).abs().amax(-1) < 1e-12
    assert still.sum() >= 5  # the others' modes lie on kinks, across which they go to and fro
    mode = path[-1].loc[still].detach().requires_grad_()
    (gradient,) = torch.autograd.grad(log_joint(model, x[still], mode).sum(), mode)
    assert_close(gradient, torch.zeros_like(mode), rtol=0, atol=1e-9)
    assert (path[0].loc - path[-1].loc).abs().max() > 0.1  # it was not there from the start


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_small_steps_raise_the_joint_density(likelihood, x):
    model = build(likelihood=likelihood, updates=6, update_rate=0.05, damping="constant")
    model.fit_statistics(x)
    path = model.posterior_part.search(model, x)
    joint_TB = torch.stack([log_joint(model, x, q.loc) for q in path])
    assert (joint_TB.diff(dim=0) > 0).double().mean() > 0.95
    assert ((joint_TB[-1] - joint_TB[0]) > 0).all()


def test_no_updates_leave_the_encoders_mean(x):
    model = build(updates=0)
    (q,) = model.posterior_part.search(model, x)
    assert_close(q.loc, model.posterior_part.mu(model.features(x)), rtol=0, atol=0)
    assert_close(q.factor @ q.factor.mT, precision_at(model, x, q.loc), rtol=1e-11, atol=1e-11)


def test_every_step_carries_a_gradient_to_both_networks(x):
    model = build(updates=3)
    path = model.posterior_part.search(model, x)
    weights = model.posterior_part.mu.weight, model.decoder[0].weight
    for t, q in enumerate(path):
        encoder, decoder = torch.autograd.grad(q.loc.sum(), weights, retain_graph=True, allow_unused=True)
        assert encoder.abs().sum() > 0
        assert (decoder is not None) == (t > 0)
    assert torch.autograd.grad(path[-1].factor.sum(), weights[1])[0].abs().sum() > 0


# Cost, and what fails.


class Operations(TorchDispatchMode):
    """The names of all operations, and how many numbers the largest result holds."""

    def __init__(self):
        super().__init__()
        self.names: list[str] = []
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.names.append(func.overloadpacket.__name__)
        for t in result if isinstance(result, tuple | list) else [result]:
            if isinstance(t, Tensor):
                self.largest = max(self.largest, t.untyped_storage().nbytes() // t.element_size())
        return result

    def count(self, part: str) -> int:
        return sum(part in name for name in self.names)


@pytest.mark.parametrize("way", ["gram", "jacobian"])
def test_one_cholesky_a_step_no_inverse_and_nothing_of_pixels_squared(way, blobs, monkeypatch):
    monkeypatch.setattr(vlae, "gram_is_cheaper", lambda *sizes: way == "gram")
    for owner, name in [(torch, "inverse"), (torch.linalg, "inv"), (Tensor, "inverse"), (torch, "cholesky_inverse")]:
        monkeypatch.setattr(owner, name, lambda *given: pytest.fail("an inverse is made"))
    side = 20
    model, x = build((1, side, side), likelihood="gaussian", updates=3), blobs(16, (1, side, side)).double()
    with Operations() as operations:
        model.loss(x, 0).backward()
    assert operations.count("cholesky_ex") == 4
    assert operations.count("inv") == 0
    assert operations.largest <= 2 * len(x) * Z * side**2  # J and J's images, far less than [D, D]
    assert 2 * len(x) * Z < side**2


@pytest.mark.parametrize("samples", [1, 300])
def test_one_cholesky_a_step_however_many_draws(samples, x, monkeypatch):
    model = build(updates=3)
    monkeypatch.setattr(base, "DRAWN", 30 * len(x))
    with Operations() as operations:
        model.log_weights(x, samples)
    assert operations.count("cholesky_ex") == 4
    assert operations.count("inv") == 0


def test_a_precision_without_a_factor_is_nan_and_leaves_the_others_alone():
    precision = torch.eye(3).repeat(5, 1, 1)
    precision[1, 0, 0], precision[2], precision[3, 0, 1] = -1.0, math.inf, math.nan
    precision[3, 1, 0] = math.nan
    factor = vlae.cholesky(precision)
    assert [bool(rows.isnan().all()) for rows in factor] == [False, True, True, True, False]
    assert_close(factor[[0, 4]], torch.eye(3).expand(2, 3, 3), rtol=1e-6, atol=1e-6)


def test_a_search_that_fails_gives_nan_and_never_a_number(x):
    model = models.build("vlae", SHAPE, latent=Z, hidden=8)
    torch.nn.init.constant_(model.likelihood_part.log_var, -200.0)  # a variance of 0 in float32
    x = x.float()
    assert model.loss(x, 0).isnan()
    assert model.log_weights(x, 3).isnan().all()
    assert model.codes(x).isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_jitter_is_what_rounding_may_take_from_an_eigenvalue_of_one(dtype):
    direction = torch.nn.functional.normalize(torch.ones(Z, 1, dtype=dtype), dim=0)
    precision = torch.eye(Z, dtype=dtype) + 1e9 * direction @ direction.T  # in float32 the ones are rounded away
    factor = vlae.cholesky(precision)
    assert torch.isfinite(factor).all()
    error = (factor @ factor.T - precision).abs().max()
    assert error <= 4 * Z * torch.finfo(dtype).eps * precision.abs().max()


def test_the_bound_holds_in_single_precision_where_noise_is_small(x):
    model = build(likelihood="gaussian", sigma=0.01).float()
    single = torch.stack([model.elbo(x.float()).log_lik - model.elbo(x.float()).kl for _ in range(3)])
    assert torch.isfinite(single).all()
