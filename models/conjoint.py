"""Conjoint autoencoders: pairs of images, with a latent that both share and one that each has for itself.

    p(x1, x2 | z) = p(x1|z1, zs) p(x2|z2, zs),   p(z) = N(0, I),   z = [z1, z2, zs]
    gaussian:     q(z|x1, x2) = q(z1|x1) q(z2|x2) q(zs|x1, x2), each N(mu, diag sigma^2)
    adversarial:  h_i = g_i(phi_i(x_i), e_i),  z_i a linear head on h_i,  zs one on [h_1, h_2],  e_i ~ N(0, I)

phi_i are the features of stream i's own encoder. The loss is beta KL(q(z|x1, x2) || p(z)) - log p(x1, x2|z); with the
adversarial posterior, whose density is not known, the KL is a discriminator's, see `models.implicit`.

They have no paper: the code gdikov/vae-playground is their only definition. The adversarial kind follows Mescheder,
Nowozin & Geiger, "Adversarial Variational Bayes" (ICML 2017). Departures: docs/adversarial.md.
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

from models.base import VAE, Shared, assemble, merged, side_by_side
from models.distributions import Gaussian
from models.domains import Count, Network, Shape, Whole, Widths, widths
from models.gaussian import GaussianPosterior, StandardPrior
from models.implicit import AVERAGED, Adversarial, Implicit, seeded
from models.inputs import Given, pairs_from
from models.networks import NETWORKS, Encoder, Networks, dense
from models.parts import Part, PosteriorPart
from models.schedules import Step

PAIRS = True  # what the model is given: [2, C, H, W]

Kind = Literal["gaussian", "adversarial"]
Sees = Literal["joint", "additive"]
Sizes = tuple[int, int, int]
"""Of z1, z2 and zs."""
LATENTS = ("z1", "z2", "zs")


class TwoEncoders(nn.Module):
    """The features of both streams side by side, from pairs [B, 2, C, H, W] to [B, 2 F]."""

    def __init__(self, first: Encoder, second: Encoder):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.first(x[:, 0]), self.second(x[:, 1])], -1)


class TwoDecoders(nn.Module):
    """What both streams' decoders make of codes [N, Z]: [N, 2, P * C, H, W]; each sees its own latent and zs.

    Args:
        first: from [z1, zs].
        second: from [z2, zs].
        sizes: of the latents.
    """

    def __init__(self, first: nn.Module, second: nn.Module, sizes: Sizes):
        super().__init__()
        self.first, self.second, self.sizes = first, second, sizes

    def forward(self, z: Tensor) -> Tensor:
        z1, z2, zs = z.split(self.sizes, -1)
        return torch.stack([self.first(torch.cat([z1, zs], -1)), self.second(torch.cat([z2, zs], -1))], 1)


class ConjointPosterior(PosteriorPart):
    """q(z1|x1) q(z2|x2) q(zs|x1, x2): a Gaussian each, on the features of its own stream or of both.

    Args:
        features: of both encoders together.
        sizes: of the latents.
    """

    codes_are = "the means of z1, z2 and zs"

    def __init__(self, features: int, sizes: Sizes):
        super().__init__()
        self.heads = _heads(GaussianPosterior, features // 2, sizes)

    def forward(self, model: VAE, x: Tensor, step: Step | None = None) -> Gaussian:
        parts = [head.at(h) for head, h in _seen_by(self.heads, model.features(x))]
        return Gaussian(torch.cat([q.loc for q in parts], -1), torch.cat([q.scale for q in parts], -1))


class ConjointSampler(PosteriorPart):
    """The implicit posterior: noise enters each layer between the features and the latents.

    Args:
        features: of both encoders together.
        sizes: of the latents.
        noise: numbers of noise a stream, M, independent of the other's.
        hidden: widths of the layers that it enters.
    """

    density = "none"
    codes_are = f"the mean of {AVERAGED} draws from the posterior, always by the same noise"

    def __init__(self, features: int, sizes: Sizes, noise: int, hidden: Widths):
        super().__init__()
        each, self.latent = features // 2, sum(sizes)
        self.streams = nn.ModuleList([Noisy(each, noise, widths(hidden)) for _ in range(2)])
        self.heads = _heads(nn.Linear, (each, *widths(hidden))[-1], sizes)
        self.numbers = 2 * max(each, *widths(hidden))
        self.averaged: Tensor
        self.register_buffer("averaged", seeded(AVERAGED, 2, noise), persistent=False)

    def forward(self, model: VAE, x: Tensor, step: Step | None = None) -> Implicit:
        h = model.features(x)

        def f(noise: Tensor) -> Tensor:
            features = zip(self.streams, h.chunk(2, -1), noise.unbind(-2))
            both = torch.cat([layers(each, e) for layers, each, e in features], -1)
            return torch.cat([head(seen) for head, seen in _seen_by(self.heads, both)], -1)

        noises = self.averaged[:, None].expand(-1, len(x), -1, -1)
        return Implicit(
            f, tuple(self.averaged.shape[1:]), h, self.latent, lambda: f(noises).mean(0), numbers=self.numbers
        )

    def codes(self, q: Distribution) -> Tensor:
        return q.mean


class Noisy(nn.Module):
    """Layers relu(W_k h_k + V_k e + b_k), all of which see the same noise.

    Args:
        features: size of h_1.
        noise: size of e.
        hidden: sizes of the layers' outputs.
    """

    def __init__(self, features: int, noise: int, hidden: tuple[int, ...]):
        super().__init__()
        self.of_h = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise((features, *hidden))])
        self.of_e = nn.ModuleList([nn.Linear(noise, b, bias=False) for b in hidden])

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        """[..., B, H], of features [B, F] and noise [..., B, M]."""
        for of_h, of_e in zip(self.of_h, self.of_e):
            h = (of_h(h) + of_e(e)).relu()
        return h


def _heads(kind: Callable[[int, int], nn.Module], features: int, sizes: Sizes) -> nn.ModuleDict:
    """A head for each latent that has a size, by its name."""
    seen = zip(LATENTS, (features, features, 2 * features), sizes)
    return nn.ModuleDict({name: kind(of, size) for name, of, size in seen if size})


def _seen_by(heads: nn.ModuleDict, both: Tensor) -> list[tuple[Any, Tensor]]:
    """Each head with what it is given of the two streams' features, [..., 2 F], in the order of the code."""
    first, second = both.chunk(2, -1)
    return [(heads[name], seen) for name, seen in zip(LATENTS, (first, second, both)) if name in heads]


class Discriminator(Part):
    """T(x, z) = n(u(x), v(z)) + |z|^2 / 2, so that what n has to learn is log q(z|x) alone.

    Two images and the whole code are what it has to see: zs depends on both.

    Args:
        image_shape: of what x is, a pair or an image.
        latent: size of z.
        hidden: widths: of u and of v, a layer each, then of the layers on both.
    """

    optimiser = "discriminator"
    adam = MappingProxyType({"lr": 1e-3, "betas": (0.5, 0.999)})  # the playground's, synthetic pairs; 2e-4 for digits

    def __init__(self, image_shape: Shape, latent: int, hidden: Widths):
        super().__init__()
        if not widths(hidden):
            raise ValueError("discriminator_hidden: needs a layer at least, on the images and on the code, got ()")
        first, *rest = widths(hidden)
        self.of_x = nn.Sequential(*dense([math.prod(image_shape), first]))
        self.of_z = nn.Sequential(*dense([latent, first]))
        self.of_both = nn.Sequential(*dense([2 * first, *rest]), nn.Linear((2 * first, *rest)[-1], 1))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """T, [..., B], of images [B, ...] and codes [..., B, Z]."""
        v = self.of_z(z)
        u = self.of_x(x.flatten(1)).expand_as(v)
        learned: Tensor = self.of_both(torch.cat([u, v], -1))[..., 0]
        return learned + 0.5 * z.square().sum(-1)


class AdditiveDiscriminator(Part):
    """T_1(x1, [z1, zs]) + T_2(x2, [z2, zs]), the playground's, which cannot say what zs has of both images together.

    Args:
        image_shape: [2, C, H, W].
        sizes: of the latents.
        hidden: see `Discriminator`, of which there are two.
    """

    optimiser, adam = Discriminator.optimiser, Discriminator.adam

    def __init__(self, image_shape: Shape, sizes: Sizes, hidden: Widths):
        super().__init__()
        self.sizes, (z1, z2, zs) = sizes, sizes
        self.first, self.second = (Discriminator(image_shape[1:], own + zs, hidden) for own in (z1, z2))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """T, [..., B], of pairs [B, 2, C, H, W] and codes [..., B, Z]."""
        z1, z2, zs = z.split(self.sizes, -1)
        told: Tensor = self.first(x[:, 0], torch.cat([z1, zs], -1)) + self.second(x[:, 1], torch.cat([z2, zs], -1))
        return told


class Conjoint(VAE):
    """A VAE of pairs.

    Args:
        *parts: see `VAE`.
        sizes: of the latents.

    Attributes:
        slices: of the codes, by the latents' names: z1 and z2, which each stream has for itself, and zs.
    """

    def __init__(self, *parts: Any, sizes: Sizes, **more: Any):
        super().__init__(*parts, **more)
        self.slices = side_by_side(LATENTS, sizes)

    @torch.no_grad()
    def transfer(self, first: Given, second: Given, steps: int = 5) -> Tensor:
        """Puts what the first images share into the second ones, the playground's iterative background transfer.

        A chain: the pair is encoded, a code is drawn, and its second mean image takes the second image's place; the
        first stays. With an empty background for a second image, zs should bring the digit and z2 keep the background.

        Args:
            first: images of stream 1, [B, C, H, W].
            second: images of stream 2 that the chains start from, as many.
            steps: how many.

        Returns:
            The second images on the way, [steps + 1, B, C, H, W], those that were given before all.

        Raises:
            ModelError: the images are none that the model takes.
        """
        x = pairs_from(first, second, self)
        chain = [x[:, 1]]
        for _ in range(steps):
            z = self.posterior(torch.stack([x[:, 0], chain[-1]], 1)).sample()
            chain.append(self._mean_images(z)[:, 1])
        return torch.stack(chain)


class AdversarialConjoint(Adversarial, Conjoint):
    """A conjoint VAE with an implicit posterior, whose KL a discriminator estimates."""


PAPER: Shared = {
    "hidden": (256, 256),  # the playground's on its synthetic pairs
    "init": "glorot",  # Keras's own
}


def idle(given: Mapping[str, Any]) -> set[str]:
    """Of these settings, those of the adversarial kind where it is not chosen."""
    own = {"noise", "noise_hidden", "discriminator", "discriminator_hidden", "discriminator_steps"}
    return set() if given["posterior"] == "adversarial" else own


def objective(given: Mapping[str, Any]) -> str:
    """What trainings are compared on: the adversarial kind has no ELBO."""
    return "log_likelihood" if given["posterior"] == "adversarial" else "elbo"


def build(
    image_shape: Shape,
    *,
    latent: Count = 2,
    private: Whole = 2,
    posterior: Kind = "gaussian",
    noise: Count = 16,
    noise_hidden: Widths = (256, 256),
    discriminator: Sees = "joint",
    discriminator_hidden: Widths = (256, 256, 256),
    discriminator_steps: Count = 3,
    **given: Unpack[Shared],
) -> VAE:
    """A conjoint autoencoder for pairs of images of that shape.

    Args:
        image_shape: [2, C, H, W].
        latent: size of zs, which the images share.
        private: size of z1 and of z2; a code has 2 private + latent coordinates.
        posterior: "gaussian" or "adversarial".
        noise: numbers of noise that a stream's encoder is given.
        noise_hidden: widths of the layers that it enters, behind the features.
        discriminator: whether it sees both images and the whole code, "joint", or is a sum over the streams.
        discriminator_hidden: its widths.
        discriminator_steps: how many steps it takes for one of the model's.
        **given: see `models.base.Shared`; the networks are those of one stream, of which there are two.

    Raises:
        ValueError: the images are not those of pairs.
    """
    if len(image_shape) != 4:
        raise ValueError(f"takes pairs of images, [2, C, H, W], got {list(image_shape)}, which are single ones")
    sizes = private, private, latent
    shared: dict[str, Any] = {"network": "mlp", "decoder_hidden": None, **merged(PAPER, given)}
    network = _two_of(shared.pop("network"), shared.pop("hidden"), shared.pop("decoder_hidden"), sizes)
    common: dict[str, Any] = {"latent": sum(sizes), "prior": StandardPrior(sum(sizes)), "network": network, **shared}
    if posterior == "gaussian":
        kind: Callable[..., Conjoint] = partial(Conjoint, sizes=sizes)
        return assemble(image_shape, posterior=lambda f: ConjointPosterior(f, sizes), kind=kind, **common)
    told_by = _discriminator(discriminator, image_shape, sizes, discriminator_hidden)
    kind = partial(AdversarialConjoint, sizes=sizes, discriminator=told_by, discriminator_steps=discriminator_steps)
    return assemble(
        image_shape, posterior=lambda f: ConjointSampler(f, sizes, noise, noise_hidden), kind=kind, **common
    )


def _discriminator(sees: Sees, image_shape: Shape, sizes: Sizes, hidden: Widths) -> Part:
    if sees == "additive":
        return AdditiveDiscriminator(image_shape, sizes, hidden)
    return Discriminator(image_shape, sum(sizes), hidden)


def _two_of(name: Network, hidden: Widths, decoder_hidden: Widths | None, sizes: Sizes) -> Networks:
    """A network of the table for each stream."""

    def made(image_shape: Shape, latent: int, channels: int) -> tuple[Encoder, nn.Sequential]:
        network, widths = partial(NETWORKS[name], image_shape[1:]), (hidden, decoder_hidden)
        first, second = (network(own + sizes[2], channels, *widths) for own in sizes[:2])
        encoder = Encoder(TwoEncoders(first[0], second[0]), features=2 * first[0].features)
        return encoder, nn.Sequential(TwoDecoders(first[1], second[1], sizes))

    return made
