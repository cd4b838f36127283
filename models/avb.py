"""Adversarial Variational Bayes, Mescheder, Nowozin & Geiger (ICML 2017): a posterior that can be drawn from and has no
density, and a discriminator T that learns what its density would be needed for.

    z = f(x, eps),   eps ~ N(0, I)
    loss             = E_q [ T(x, z) - log p(x|z) ],                                   T held fixed
    loss of T        = E_q softplus(-T(x, z)) + E_r softplus(T(x, z)),                 q held fixed
    at the best T:     T(x, z) = log q(z|x) - log r(z|x),   r(z|x) = p(z)

With adaptive contrast r is the Gaussian that has q's moments in place of the prior, and T's codes are whitened by it:

    KL(q || p) = E_q [ T(x, (z - m) / s) + log r(z|x) - log p(z) ],   r(z|x) = N(m(x), diag s(x)^2)

T's value is an estimate and no bound. The decoder and the prior have densities, so that the likelihood needs no T: it
is importance-weighted from a proposal that is fitted to q's moments.

Departures: docs/adversarial.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import elu

from models.base import VAE, Shared, assemble, merged
from models.distributions import Gaussian
from models.domains import Count, Shape, Widths, widths
from models.gaussian import StandardPrior
from models.implicit import AVERAGED, NARROWEST, Adversarial, Implicit, seeded
from models.networks import NETWORKS, Encoder
from models.parts import Part, PosteriorPart
from models.schedules import Step

Form = Literal["full", "relu_dot"]

OBJECTIVE = "log_likelihood"  # what trials are compared on: there is no ELBO to compare

MOMENTS = 100  # noises behind the moments of each v_i: as many as gdikov/vae-playground draws
SLOPE = 0.2  # of T's leaky ReLUs: the authors'
PRODUCTS = 4  # times its last width are T's products: gdikov's, 1024 of 256 and 2048 of 512; the authors have 8 times


class NoisyEncoder(Encoder):
    """An encoder with a linear image of one noise added to what each of its weights gives, before it is activated.

    Args:
        encoder: whose layers.
        image_shape: [C, H, W].
        noise: size of the noise, M.

    Attributes:
        numbers: of its largest tensor, for an image.
    """

    def __init__(self, encoder: Encoder, image_shape: Shape, noise: int):
        super().__init__(features=encoder.features)
        self.layers, self.images, self.noise, self.numbers = nn.ModuleList(encoder), nn.ModuleDict(), noise, 1
        h = torch.zeros(1, *image_shape)
        with torch.no_grad():
            for i, layer in enumerate(encoder):
                h = layer(h)
                self.numbers = max(self.numbers, h.numel())
                if isinstance(layer, nn.Linear | nn.Conv2d):
                    self.images[str(i)] = nn.Linear(noise, h.numel(), bias=False)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Features, [..., B, F], of images [B, C, H, W] and noise [..., B, M]; what comes before it is found once."""
        if noise is None:
            noise = torch.randn(len(x), self.noise, dtype=x.dtype, device=x.device)
        h, B = x, len(x)
        for i, layer in enumerate(self.layers):
            h = layer(h)
            if str(i) in self.images:
                added = self.images[str(i)](noise).reshape(-1, B, *h.shape[1:])
                h = (h.reshape(-1, B, *h.shape[1:]) + added).flatten(0, 1)
        return h.reshape(-1, B, self.features).expand(noise[..., 0].numel() // B, -1, -1).reshape(*noise.shape[:-1], -1)


class NoisyPosterior(PosteriorPart):
    """z = f(x, eps), with eps in every layer: in those of a `NoisyEncoder`, and in the last one, which is here.

    Args:
        features: of the encoder.
        latent: Z.
        noise: size of the noise, M.
    """

    name = "implicit"
    density = "none"
    codes_are = f"the mean of {AVERAGED} draws from the posterior, always by the same noise"

    def __init__(self, features: int, latent: int, noise: int):
        super().__init__()
        self.z, self.image = nn.Linear(features, latent), nn.Linear(noise, latent, bias=False)
        self.averaged: Tensor
        self.register_buffer("averaged", seeded(AVERAGED, noise), persistent=False)

    def forward(self, model: VAE, x: Tensor, step: Step | None = None) -> Implicit:
        assert isinstance(model.encoder, NoisyEncoder)
        seen = model.likelihood_part.seen(x)

        def f(noise: Tensor) -> Tensor:
            z: Tensor = self.z(model.encoder(seen, noise)) + self.image(noise)
            return z

        noises, latent = self.averaged[:, None].expand(-1, len(x), -1), self.z.out_features
        return Implicit(
            f, (self.image.in_features,), x, latent, lambda: f(noises).mean(0), numbers=model.encoder.numbers
        )

    def codes(self, q: Distribution) -> Tensor:
        return q.mean


class Bank(nn.Module):
    """K small networks side by side, each with an input of its own: linear layers with an ELU between them.

    Args:
        count: K.
        sizes: of their layers, from input to output.
    """

    def __init__(self, count: int, sizes: tuple[int, ...]):
        super().__init__()
        self.weights = nn.ParameterList(torch.empty(count, a, b) for a, b in pairwise(sizes))
        self.biases = nn.ParameterList(torch.empty(count, 1, b) for b in sizes[1:])
        for weight, bias in zip(self.weights, self.biases):
            for each in (weight, bias):  # as torch starts a linear layer
                nn.init.uniform_(each, -(weight.shape[1] ** -0.5), weight.shape[1] ** -0.5)

    def forward(self, given: Tensor) -> Tensor:
        """[..., K, b], of inputs [..., K, a]."""
        h = given.reshape(-1, *given.shape[-2:]).transpose(0, 1)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            h = torch.baddbmm(bias, elu(h) if i else h, weight)
        return h.transpose(0, 1).reshape(*given.shape[:-1], -1)


class MomentPosterior(PosteriorPart):
    """z = z0(x) + sum_i a_i(x) * v_i(eps_i), whose moments follow from those of the v_i: the noises are independent.

    E[z] = z0 + sum_i a_i E[v_i],   Cov[z] = sum_i diag(a_i) Cov[v_i] diag(a_i)

    Moments of the v_i are over noises that are always the same. The bound holds for any Gaussian r, so that their
    error costs nothing but contrast.

    Args:
        features: of the encoder.
        latent: Z.
        noises: how many there are, K.
        noise: size of each, M.
        hidden: widths of the hidden layers of each v_i.
    """

    density = "none"
    codes_are = "the mean of the posterior"

    def __init__(self, features: int, latent: int, noises: int, noise: int, hidden: Widths):
        super().__init__()
        sizes = (noise, *widths(hidden), latent)
        self.z0, self.a = nn.Linear(features, latent), nn.Linear(features, noises * latent)
        self.v, self.numbers = Bank(noises, sizes), noises * max(sizes)
        self.averaged: Tensor
        self.register_buffer("averaged", seeded(MOMENTS, noises, noise), persistent=False)

    def forward(self, model: VAE, x: Tensor, step: Step | None = None) -> Implicit:
        h = model.features(x)
        z0, a = self.z0(h), 1 + elu(self.a(h) - 5).reshape(len(x), -1, self.z0.out_features)  # the authors': near 0.007
        v = self.v(self.averaged)
        mean = z0 + (a * v.mean(0)).sum(-2)
        with torch.no_grad():
            variance = (a.square() * v.var(0)).sum(-2) + NARROWEST
            contrast = Gaussian(mean.detach(), variance.sqrt())

        def f(noise: Tensor) -> Tensor:
            return z0 + (a * self.v(noise)).sum(-2)

        def covariance() -> Tensor:
            centred = v - v.mean(0)
            each = torch.einsum("ski,skj->kij", centred, centred) / (len(v) - 1)
            return torch.einsum("bki,kij,bkj->bij", a, each, a)

        noise, latent = tuple(self.averaged.shape[1:]), self.z0.out_features
        return Implicit(f, noise, x, latent, lambda: mean, contrast, covariance, self.numbers)

    def codes(self, q: Distribution) -> Tensor:
        return q.mean


class Discriminator(Part):
    """T(x, z): the log-odds that z is from q(z|x) and not from what it is contrasted with.

    "full": theta(x) . s(z) + a(x) + b(z) + |z|^2 / 2, the authors': the last term leaves log q(z|x) to be learned.
    "relu_dot": relu(theta(x)) . relu(s(z)), gdikov's, which is never negative, as log q - log r has to be.

    Args:
        image_shape: [C, H, W].
        latent: Z.
        hidden: widths of the hidden layers of each network.
        form: see above.
    """

    optimiser = "discriminator"
    adam = MappingProxyType({"lr": 2e-4, "betas": (0.5, 0.999)})  # the authors': twice the rate; gdikov's for MNIST

    def __init__(self, image_shape: Shape, latent: int, hidden: Widths, form: Form = "full"):
        super().__init__()
        pixels, sizes = math.prod(image_shape), widths(hidden)

        def network(size: int, out: int) -> nn.Sequential:
            layers = [layer for a, b in pairwise((size, *sizes)) for layer in (nn.Linear(a, b), nn.LeakyReLU(SLOPE))]
            return nn.Sequential(*layers, nn.Linear((size, *sizes)[-1], out))

        products = PRODUCTS * (sizes or (latent,))[-1]
        self.theta, self.s = network(pixels, products), network(latent, products)
        self.full = form == "full"
        if self.full:
            self.a, self.b = network(pixels, 1), network(latent, 1)

    def start(self, init: Any) -> None:
        """With next to nothing learned, as the authors do: "full" starts as |z|^2 / 2."""
        super().start(init)
        for last in (self.theta[-1], self.a[-1], self.b[-1]) if self.full else ():
            assert isinstance(last, nn.Linear)
            nn.init.normal_(last.weight, std=1e-5)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """T, [..., B], of images [B, C, H, W] and codes [..., B, Z]."""
        pixels = 2 * x.flatten(1) - 1
        theta, s = self.theta(pixels), self.s(z)
        if not self.full:
            return (theta.relu() * s.relu()).sum(-1)
        learned = (elu(theta) * s).sum(-1) + self.a(pixels)[..., 0] + self.b(z)[..., 0]
        return learned + 0.5 * z.square().sum(-1)


PAPER: Shared = {"hidden": (256, 256), "init": "glorot"}
"""Of the settings that all models share, gdikov's for its synthetic data, and Keras's start; presets of digits have
convolutions."""


def idle(given: Mapping[str, Any]) -> set[str]:
    """Of these settings, those that do nothing beside the others."""
    return set() if given["adaptive_contrast"] else {"noises", "noise_hidden"}


def build(
    image_shape: Shape,
    *,
    latent: Count = 8,
    adaptive_contrast: bool = True,
    noise: Count = 16,
    noises: Count = 32,
    noise_hidden: Widths = (128, 128, 128),
    discriminator_hidden: Widths = (512, 512, 512),
    discriminator_form: Form = "full",
    discriminator_steps: Count = 1,
    **shared: Unpack[Shared],
) -> VAE:
    """An AVB for images of that shape.

    Args:
        image_shape: [C, H, W].
        latent: size of the code, Z.
        adaptive_contrast: whether T tells q from the Gaussian that has its moments, and not from the prior. The
            encoder is then z0(x) + sum_i a_i(x) * v_i(eps_i), else it has noise in every layer.
        noise: size of a noise, M.
        noises: of adaptive contrast, how many v_i there are.
        noise_hidden: of adaptive contrast, widths of the hidden layers of each v_i.
        discriminator_hidden: widths of the hidden layers of each of T's networks.
        discriminator_form: see `Discriminator`.
        discriminator_steps: T's steps for each of the model's, on the same images with fresh noise.
        **shared: see `models.base.Shared`.
    """
    given: dict[str, Any] = {**merged(PAPER, shared)}
    if not adaptive_contrast:
        sizes = given.pop("hidden"), given.pop("decoder_hidden", None)
        given["network"] = partial(_noisy, NETWORKS[given.pop("network", "mlp")], noise, sizes)

    def posterior(features: int) -> PosteriorPart:
        if adaptive_contrast:
            return MomentPosterior(features, latent, noises, noise, noise_hidden)
        return NoisyPosterior(features, latent, noise)

    def kind(*parts: Any, **more: Any) -> Adversarial:
        discriminator = Discriminator(image_shape, latent, discriminator_hidden, discriminator_form)
        return Adversarial(*parts, discriminator=discriminator, discriminator_steps=discriminator_steps, **more)

    return assemble(image_shape, latent=latent, posterior=posterior, prior=StandardPrior(latent), kind=kind, **given)


def _noisy(
    network: Callable[..., tuple[Encoder, nn.Sequential]],
    noise: int,
    sizes: tuple[Widths, Widths | None],
    image_shape: Shape,
    latent: int,
    channels: int,
) -> tuple[Encoder, nn.Sequential]:
    encoder, decoder = network(image_shape, latent, channels, *sizes)
    return NoisyEncoder(encoder, image_shape, noise), decoder
