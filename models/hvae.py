"""The two-level VAE of Tomczak & Welling, "VAE with a VampPrior" (AISTATS 2018), whose top level has either prior.

p(x, z1, z2) = p(x|z1, z2) p(z1|z2) p(z2),   q(z1, z2|x) = q(z1|x, z2) q(z2|x)
p(z2) = 1/K sum_k q(z2|u_k), or N(0, I)

All conditionals are Gaussian, with the log-variances clipped. A code is [z1, z2], of `latent` coordinates in all. In
the replication, mk017/VAE-VampPrior-tf2, z2 is called z, and z1 is z0.

Departures: docs/vampprior.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints, kl_divergence
from torch.nn.functional import linear

from models import vampprior
from models.base import VAE, assemble, side_by_side
from models.distributions import Gaussian, Size
from models.domains import Activation, Count, NotNegative, Probability, Shape, Widths, widths
from models.measures import Look, Measure
from models.networks import ACTIVATIONS, Encoder, Layers, Networks, activated, dense, gates
from models.parts import PosteriorPart, PriorPart
from models.schedules import Step
from models.vampprior import Clip, ClippedGaussian, EqualMixture, NoPseudoInputs, PriorName, VampPrior, of


class TwoLevels(Distribution):
    """d(z2) d(z1|z2) as a distribution over codes [z1, z2].

    Args:
        top: d(z2), batch [...], event [Z2].
        lower: d(z1|z2), from codes z2, [..., Z2], to a Gaussian with the event [Z1].
        sizes: Z1 and Z2.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    support = constraints.real_vector

    def __init__(self, top: Distribution, lower: Callable[[Tensor], Gaussian], sizes: tuple[int, int]):
        self.top, self.lower, self.sizes = top, lower, sizes
        self._drawn: tuple[Tensor, Gaussian] | None = None
        super().__init__(top.batch_shape, torch.Size([sum(sizes)]), validate_args=False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]  # a mixture on top has none
        return self.top.has_rsample

    @property
    def centre(self) -> Tensor:
        """[the mean of z1 given the mean of z2, the mean of z2], [..., Z]; of a Gaussian top."""
        mean = self.top.mean
        return torch.cat([self.lower(mean).mean, mean], -1)

    def sample(self, sample_shape: Size = ()) -> Tensor:
        with torch.no_grad():
            return self._below(self.top.sample(torch.Size(sample_shape)))

    def rsample(self, sample_shape: Size = (), noise: Tensor | None = None) -> Tensor:
        """Reparameterised draws, [*sample_shape, ..., Z].

        Args:
            sample_shape: how many, ignored where the noise is given.
            noise: standard normal, of the draws' shape: that of z1, then that of z2.
        """
        if noise is None:
            return self._below(self.top.rsample(torch.Size(sample_shape)))
        for_z1, for_z2 = noise.split(self.sizes, -1)
        return self._below(self.top.rsample(noise=for_z2), for_z1)  # type: ignore[call-arg]  # our own take it

    def _below(self, z2: Tensor, noise: Tensor | None = None) -> Tensor:
        lower = self.lower(z2)
        z = torch.cat([lower.rsample(noise=noise), z2], -1)
        self._drawn = z, lower
        return z

    @property
    def last(self) -> Tensor:
        """The last draws."""
        assert self._drawn is not None
        return self._drawn[0]

    def given(self, value: Tensor) -> Gaussian:
        """d(z1|z2) at codes [..., Z]; of the last draws it is there already."""
        if self._drawn is not None and value is self._drawn[0]:
            return self._drawn[1]
        return self.lower(value.split(self.sizes, -1)[1])

    def log_prob_by_level(self, value: Tensor) -> Tensor:
        """log d(z1|z2) and log d(z2), [2, ...], in nats."""
        z1, z2 = value.split(self.sizes, -1)
        return torch.stack([self.given(value).log_prob(z1), self.top.log_prob(z2)])

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density, nats; value [..., Z]."""
        return self.log_prob_by_level(value).sum(0)


class SideBySide(nn.Module):
    """A linear layer on two inputs side by side, W [a, b] + c, with what a adds found once, however many b there are.

    Args:
        layer: whose inputs are a's and b's.
        first: size of a.
    """

    def __init__(self, layer: nn.Module, first: int):
        super().__init__()
        assert isinstance(layer, nn.Linear)
        self.layer, self.first = layer, first

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """[..., B, out], of a, [B, ...], and b, [..., B, ...]."""
        weight = self.layer.weight
        return linear(a, weight[:, : self.first], self.layer.bias) + linear(b, weight[:, self.first :])


class Apart(nn.Module):
    """Layers of z1 and layers of z2, whose outputs are put side by side.

    Args:
        of_z1: from [B, Z1].
        of_z2: from [B, Z2].
        latents: Z1 and Z2.
    """

    def __init__(self, of_z1: Sequence[nn.Module], of_z2: Sequence[nn.Module], latents: tuple[int, int]):
        super().__init__()
        self.of_z1, self.of_z2, self.latents = nn.Sequential(*of_z1), nn.Sequential(*of_z2), latents

    def forward(self, z: Tensor) -> Tensor:
        z1, z2 = z.split(self.latents, -1)
        return torch.cat([self.of_z1(z1), self.of_z2(z2)], -1)


class HierarchicalPosterior(PosteriorPart):
    """q(z2|x) q(z1|x, z2).

    Args:
        features: of the encoder, on which z2 stands.
        latents: Z1 and Z2.
        of_x: a second encoder; of q(z1|x, z2) the layers on x.
        of_z2: widths of those on z2.
        joint: width of the one that follows, on both.
        layers: of which kind they are.
        clip: of the log-variances, see `ClippedGaussian`.
    """

    codes_are = "the mean of z1 given the mean of z2, then the mean of z2"

    def __init__(
        self,
        features: int,
        latents: tuple[int, int],
        of_x: Encoder,
        of_z2: tuple[int, ...],
        joint: int,
        layers: Layers,
        clip: Clip,
    ):
        super().__init__()
        z1, z2 = self.latents = latents
        self.of_x, self.of_z2 = of_x, nn.Sequential(*layers([z2, *of_z2]))
        layer, self.activation = layers([of_x.features + (z2, *of_z2)[-1], joint])
        self.joint = SideBySide(layer, of_x.features)
        self.z1 = ClippedGaussian(joint, z1, log_var_clip=clip)
        self.z2 = ClippedGaussian(features, z2, log_var_clip=clip)

    def top(self, model: VAE, x: Tensor) -> Gaussian:
        """q(z2|x), batch [B]."""
        return self.z2.at(model.features(x))

    def forward(self, model: VAE, x: Tensor, step: Step | None = None) -> TwoLevels:
        h = self.of_x(model.likelihood_part.seen(x))
        return TwoLevels(
            self.top(model, x),
            lambda z2: self.z1.at(self.activation(self.joint(h, self.of_z2(z2)))),
            self.latents,
        )

    def codes(self, q: Distribution) -> Tensor:
        assert isinstance(q, TwoLevels)
        return q.centre

    def means(self, q: Distribution) -> Tensor:
        """The codes: the mean of z1 over all z2 has no closed form."""
        return self.codes(q)


class HierarchicalPrior(PriorPart):
    """p(z2) p(z1|z2).

    Args:
        top: the prior part of z2; a VampPrior is the mixture of q(z2|u_k).
        latents: Z1 and Z2.
        of_z2: widths of the layers of p(z1|z2).
        layers: of which kind they are.
        clip: of the log-variances, see `ClippedGaussian`.
    """

    def __init__(self, top: PriorPart, latents: tuple[int, int], of_z2: tuple[int, ...], layers: Layers, clip: Clip):
        super().__init__()
        z1, z2 = self.latents = latents
        self.top, self.of_z2 = top, nn.Sequential(*layers([z2, *of_z2]))
        self.z1 = ClippedGaussian((z2, *of_z2)[-1], z1, log_var_clip=clip)

    def check(self, model: VAE) -> None:
        """Raises ValueError where a VampPrior would need a q(z2|x), and the posterior has none."""
        if isinstance(self.top, VampPrior) and not isinstance(model.posterior_part, HierarchicalPosterior):
            raise ValueError(
                f"a VampPrior on top of two levels is the mixture of q(z2|u_k), and "
                f"{type(model.posterior_part).__name__} has no q(z2|x)"
            )

    def own_rates(self) -> dict[str, list[nn.Parameter]]:
        return self.top.own_rates()

    def fit_statistics(self, images: Tensor | Iterable[Tensor]) -> None:
        self.top.fit_statistics(images)

    def forward(self, model: VAE) -> TwoLevels:
        if isinstance(self.top, VampPrior):
            assert isinstance(model.posterior_part, HierarchicalPosterior)  # see `check`
            top: Distribution = EqualMixture(model.posterior_part.top(model, self.top.images()))
        else:
            top = self.top(model)
        return TwoLevels(top, self.lower, self.latents)

    def lower(self, z2: Tensor) -> Gaussian:
        """p(z1|z2), of codes z2, [..., Z2]."""
        return self.z1.at(self.of_z2(z2))


KL_Z1 = Measure("kl_z1", "KL of the lower level", "nats", "less", "estimate")
KL_Z2 = Measure("kl_z2", "KL of the top level", "nats", "less", "estimate")


class HVAE(VAE):
    """A VAE of two levels; its KL is log q(z1|x, z2) - log p(z1|z2) + log q(z2|x) - log p(z2) at one draw.

    Attributes:
        free_bits: nats that each coordinate of z1 may cost for nothing in training, Kingma et al. (2016), Appendix C.8.
    """

    free_bits = 0.0

    def loss(self, x: Tensor, step: Step) -> Tensor:
        if not self.free_bits:
            return super().loss(x, step)
        q, p = self.posterior(x, step), self.prior()
        assert isinstance(q, TwoLevels)
        assert isinstance(p, TwoLevels)
        z = q.rsample()
        lower_Z = kl_divergence(q.given(z).base_dist, p.given(z).base_dist).mean(0)
        _, top = q.log_prob_by_level(z) - p.log_prob_by_level(z)
        kl = lower_Z.clamp(min=self.free_bits).sum() + top.mean()
        return self.beta(step, self.budget) * kl - self.likelihood(z).log_prob(x).mean()

    def measures(self) -> dict[Measure, Callable[[Tensor, Look], Tensor]]:
        return {
            KL_Z1: lambda x, look: self._kl_z1(look),
            KL_Z2: lambda x, look: look.elbo.kl - self._kl_z1(look),
        }

    def _kl_z1(self, look: Look) -> Tensor:
        """log q(z1|x, z2) - log p(z1|z2) at the draw that the ELBO was taken at, [B]; no pseudo-input is encoded."""
        q, prior = look.posterior, self.prior_part
        assert isinstance(q, TwoLevels)
        assert isinstance(prior, HierarchicalPrior)
        z1, z2 = q.last.split(q.sizes, -1)
        return q.given(q.last).log_prob(z1) - prior.lower(z2).log_prob(z1)


PAPER, settings, idle = vampprior.PAPER, vampprior.settings, vampprior.idle
BESIDE_NETWORK = ("hidden",)
"""Of the widths, those that are read whatever the network: the layers on z2 and on both have them."""


def build(
    image_shape: Shape,
    *,
    latent: Count = 80,
    top: Count | Probability = 0.5,
    prior: PriorName = "vamp",
    free_bits: NotNegative = 0.0,
    **given: Any,
) -> VAE:
    """A two-level VAE for images of that shape.

    Args:
        image_shape: [C, H, W].
        latent: size of the whole code [z1, z2].
        top: how much of it is z2: a number, or a share, rounded down, of a coordinate at least.
        prior: of z2, "vamp" or "standard".
        free_bits: see `HVAE`.
        **given: as of `models.vampprior.build`.

    Raises:
        ValueError: a level would have no coordinate, or there is no layer to join x and z2 in.
    """
    own, shared = vampprior.split(given)
    latents, clip, name = _latents(latent, top), own["log_var_clip"], shared["network"]
    hidden, decoder_hidden = widths(shared.pop("hidden")), shared.pop("decoder_hidden")
    if not hidden:
        raise ValueError("hidden: needs a layer at least, in which q(z1|x, z2) joins x and z2, got ()")
    network, layers, sizes = vampprior.network_of(own, shared), _layers(name, own["activation"]), _sizes(name, hidden)
    of_x, _ = network(image_shape, latent, 1, sizes.of_x, None)
    over_z2 = VampPrior(image_shape, **of(VampPrior.__init__, own)) if prior == "vamp" else NoPseudoInputs(latents[1])
    given_z2 = sizes.of_z2, sizes.joint, layers, clip

    def kind(*parts: Any, **settings: Any) -> HVAE:
        model = HVAE(*parts, **settings)
        model.free_bits, model.slices = free_bits, side_by_side(("z1", "z2"), latents)
        return model

    shared["network"] = _networks(network, hidden, decoder_hidden, latents, apart=name == "gated")
    return assemble(
        image_shape,
        latent=latent,
        posterior=lambda features: HierarchicalPosterior(features, latents, of_x, *given_z2),
        prior=HierarchicalPrior(over_z2, latents, sizes.prior, layers, clip),
        kind=kind,
        **shared,
    )


def _latents(latent: int, top: float) -> tuple[int, int]:
    """Z1 and Z2."""
    if latent < 2:
        raise ValueError(f"latent: {latent} must be 2 at least, a coordinate for each level")
    z2 = top if isinstance(top, int) else max(int(top * latent), 1)
    if z2 >= latent:
        raise ValueError(f"top: {top} must be less than latent, the size of the whole code, which is {latent}")
    return latent - z2, z2


class Sizes(NamedTuple):
    """Widths of the fully connected layers besides the encoder's and the decoder's."""

    of_x: tuple[int, ...]  # of q(z1|x, z2), on x, behind convolutions if there are such
    of_z2: tuple[int, ...]  # on z2
    joint: int  # on both
    prior: tuple[int, ...]  # of p(z1|z2)


def _sizes(network: str, hidden: tuple[int, ...]) -> Sizes:
    """The authors': all layers but the last on x and z2 apart. The replication's: twice as many on z2, then one."""
    if network == "vamp_conv":
        return Sizes(hidden, hidden + hidden, hidden[-1], (300, 300))
    return Sizes(hidden[:-1], hidden[:-1], hidden[-1], hidden)


def _layers(network: str, activation: Activation) -> Layers:
    if network == "gated":
        return gates
    return partial(activated, act=ACTIVATIONS[activation]) if network == "vamp_conv" else dense


def _networks(
    network: Callable[..., tuple[Encoder, nn.Sequential]],
    hidden: tuple[int, ...],
    decoder_hidden: Widths | None,
    latents: tuple[int, int],
    *,
    apart: bool,
) -> Networks:
    """Encoder and decoder; with `apart` the decoder's first layer is one of z1 and one of z2, as the authors' is."""

    def made(image_shape: Shape, latent: int, channels: int) -> tuple[Encoder, nn.Sequential]:
        encoder, decoder = network(image_shape, latent, channels, hidden, decoder_hidden)
        of_decoder = hidden[::-1] if decoder_hidden is None else widths(decoder_hidden)
        if not apart or not of_decoder:
            return encoder, decoder
        first, *rest = of_decoder
        of_both = Apart(gates([latents[0], first]), gates([latents[1], first]), latents)
        _, behind = network(image_shape, 2 * first, channels, (), tuple(rest))
        return encoder, nn.Sequential(of_both, *behind)

    return made
