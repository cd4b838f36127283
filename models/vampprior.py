"""The VampPrior, Tomczak & Welling, "VAE with a VampPrior" (AISTATS 2018): the mixture of the posteriors at K images,
the pseudo-inputs, which are learned.

p(z) = 1/K sum_k q(z|u_k),   q(z|x) = N(mu(x), diag sigma(x)^2),   -6 <= log sigma(x)^2 <= 2

The same encoder gives q(z|x) and q(z|u_k), and is trained through both. Their code, jmtomczak/vae_vampprior (2018), and
its replication with convolutions, mk017/VAE-VampPrior-tf2, clip the log-variance; that is a part of the model, because
it alone fixes the scale of the latents.

Departures: docs/vampprior.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

import models
from models.base import VAE, Shared, assemble
from models.distributions import Gaussian, Size
from models.domains import Count, Fraction, NotNegative, Shape
from models.gaussian import GaussianPosterior, StandardPrior
from models.likelihoods import in_parts
from models.networks import NETWORKS, Encoder, vamp_conv
from models.parts import PriorPart

PriorName = Literal["vamp", "standard"]
Start = Literal["random", "data"]
PseudoActivation = Literal["clamp", "hard_sigmoid", "sigmoid"]
Clip = Literal["narrow", "wide", "none"]

ROWS = 2**20  # numbers that are compared at once, codes times components times Z: they stay in a core's cache


class EqualMixture(Distribution):
    """The mixture of K distributions over codes, each with weight 1/K.

    Args:
        components: batch [K], event [Z], with a density at any code.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    support = constraints.real_vector

    def __init__(self, components: Distribution):
        self.components = components
        super().__init__(torch.Size(), components.event_shape, validate_args=False)

    def sample(self, sample_shape: Size = ()) -> Tensor:
        """Draws, [*sample_shape, Z]: a component each, then a code from it."""
        with torch.no_grad():
            shape = torch.Size(sample_shape)
            z = torch.cat([self._drawn(n) for n in _chunks(shape.numel(), self._rows)])
            return z.reshape(*shape, *self.event_shape)

    def _drawn(self, n: int) -> Tensor:
        z = self.components.sample(torch.Size([n]))  # [n, K, Z]
        chosen = torch.randint(z.shape[1], (n,), device=z.device)
        return z[torch.arange(n, device=z.device), chosen]

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density, nats; value [..., Z]. Some codes at a time: all with all components need not fit in memory."""
        rows = value.reshape(-1, value.shape[-1]).split(self._rows)
        log_p = [self.components.log_prob(part[:, None]).logsumexp(-1) for part in rows]
        return torch.cat(log_p).reshape(value.shape[:-1]) - math.log(self.components.batch_shape[0])

    @property
    def _rows(self) -> int:
        """How many codes are held against all components at once."""
        return max(1, ROWS // (self.components.batch_shape[0] * self.event_shape[0]))


def _chunks(n: int, size: int) -> list[int]:
    return [min(size, n - done) for done in range(0, n, size)] or [0]


class Squash(NamedTuple):
    """How free numbers become pixels in [0, 1], and which numbers become given pixels."""

    forward: Callable[[Tensor], Tensor]
    inverse: Callable[[Tensor], Tensor]


SQUASHES: dict[PseudoActivation, Squash] = {
    "clamp": Squash(lambda u: u.clamp(0, 1), lambda x: x),  # the authors'
    "hard_sigmoid": Squash(lambda u: (0.2 * u + 0.5).clamp(0, 1), lambda x: 5 * (x - 0.5)),  # the replication's
    "sigmoid": Squash(torch.sigmoid, lambda x: torch.logit(x, 0.02)),  # has a gradient everywhere
}


class VampPrior(PriorPart):
    """p(z) = 1/K sum_k q(z|u_k).

    Args:
        image_shape: [C, H, W].
        pseudo_inputs: K.
        pseudo_start: "random": pixels around `pseudo_mean`; "data": K training images, each another one while there
            are so many. Both with a noise of `pseudo_deviation`.
        pseudo_activation: how the free numbers become pixels. Where a clamp or a hard sigmoid clips, which is about
            half of the pixels of binary training images, a pixel has no gradient.
        pseudo_trainable: whether they are learned, or stay as they start.
        pseudo_mean: of the pixels at a random start; the authors have 0.05 for MNIST and OMNIGLOT, 0.5 for Caltech 101
            and Frey faces, 0.4 for CIFAR-10.
        pseudo_deviation: at the start; theirs is 0.01, 0.02 and 0.05.
    """

    name = "vamp"
    point_masses = None
    uses_posterior = True

    def __init__(
        self,
        image_shape: Shape,
        *,
        pseudo_inputs: Count = 500,
        pseudo_start: Start = "random",
        pseudo_activation: PseudoActivation = "clamp",
        pseudo_trainable: bool = True,
        pseudo_mean: Fraction = 0.05,
        pseudo_deviation: NotNegative = 0.01,
    ):
        super().__init__()
        self.pseudo_inputs: Tensor
        self.from_data, self.deviation, self.squash = (
            pseudo_start == "data",
            pseudo_deviation,
            SQUASHES[pseudo_activation],
        )
        free = self._near(torch.full((pseudo_inputs, *image_shape), pseudo_mean))
        if pseudo_trainable:
            self.pseudo_inputs = nn.Parameter(free)
        else:
            self.register_buffer("pseudo_inputs", free)

    def _near(self, pixels: Tensor) -> Tensor:
        """Free numbers that become these pixels, give or take the deviation."""
        return self.squash.inverse(pixels + self.deviation * torch.randn_like(pixels))

    @classmethod
    def draw(cls, trial: Any) -> dict[str, Any]:
        return {"pseudo_inputs": trial.suggest_int("pseudo_inputs", 50, 500, log=True)}

    def own_rates(self) -> dict[str, list[nn.Parameter]]:
        return {"lr_pseudo_inputs": list(self.parameters())}

    @torch.no_grad()
    def fit_statistics(self, images: Tensor | Iterable[Tensor]) -> None:
        """Takes the training images that it starts from, if it does, drawn from torch's generator."""
        if not self.from_data:
            return
        n = sum(len(part) for part in in_parts(images))
        chosen = torch.randperm(n)[torch.arange(len(self.pseudo_inputs)) % n]
        pixels, done = torch.empty_like(self.pseudo_inputs), 0
        for part in in_parts(images):
            here = ((chosen >= done) & (chosen < done + len(part))).nonzero()[:, 0]
            pixels[here] = part[chosen[here] - done].to(pixels.dtype)
            done += len(part)
        self.pseudo_inputs.copy_(self._near(pixels))

    def images(self) -> Tensor:
        """The pseudo-inputs as images in [0, 1], [K, C, H, W]."""
        return self.squash.forward(self.pseudo_inputs)

    def forward(self, model: VAE) -> EqualMixture:
        return EqualMixture(model.posterior(self.images()))


class NoPseudoInputs(StandardPrior):
    """p(z) = N(0, I), with the rate of the pseudo-inputs that it lacks: a study of both priors may set it for both."""

    name = ""

    def own_rates(self) -> dict[str, list[nn.Parameter]]:
        return {"lr_pseudo_inputs": []}


CLIPS: dict[Clip, tuple[float, float] | None] = {"narrow": (-6.0, 2.0), "wide": (-10.0, 4.0), "none": None}


class ClippedGaussian(GaussianPosterior):
    """N(mu(h), diag sigma(h)^2) with a log-variance that is clipped, and has no gradient where it is.

    Args:
        features: of h.
        latent: Z.
        log_var_clip: "narrow": [-6, 2], both repositories' own; "wide": [-10, 4]; "none".
    """

    name = ""

    def __init__(self, features: int, latent: int, *, log_var_clip: Clip = "narrow"):
        super().__init__(features, latent)
        self.clip = CLIPS[log_var_clip]

    def at(self, h: Tensor) -> Gaussian:
        log_var = self.log_var(h)
        if self.clip is not None:
            log_var = log_var.clamp(*self.clip)
        return Gaussian(self.mu(h), (0.5 * log_var).exp())


PAPER: Shared = {"hidden": (300, 300), "decoder_hidden": None, "network": "mlp", "init": "he", "kl_warmup": 0.05}
"""Of the settings that all models share, the authors' own: they warm up for 100 of at most 2,000 epochs. Their network,
which is `gated`, is named by the presets."""


def settings() -> dict[str, tuple[Any, Any]]:
    """What `build` takes besides its own arguments, name -> (domain, default): what the parts and the network take."""
    return {name: field for each in OWNERS for name, field in models.keywords(each).items()}


OWNERS: tuple[Callable[..., Any], ...] = (ClippedGaussian.__init__, VampPrior.__init__, vamp_conv)


def of(owner: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Of these settings, the owner's."""
    return {name: given[name] for name in models.keywords(owner)}


def idle(given: Mapping[str, Any]) -> set[str]:
    """Of these settings, those of a prior or a network that is not chosen."""
    unused = set() if given["prior"] == "vamp" else set(models.keywords(VampPrior.__init__))
    return unused if given["network"] == "vamp_conv" else unused | set(models.keywords(vamp_conv))


def split(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of `settings`, and those that all models share, with the authors' own under them."""
    own = {key: given.pop(key, default) for key, (_, default) in settings().items()}
    shared: dict[str, Any] = {**PAPER, **given}
    return own, shared


def network_of(own: Mapping[str, Any], shared: Mapping[str, Any]) -> Callable[..., tuple[Encoder, nn.Sequential]]:
    """The network, with its own settings if it has such, as it stands in `models.networks.NETWORKS`."""
    network = NETWORKS[shared["network"]]
    return partial(vamp_conv, **of(vamp_conv, own)) if network is vamp_conv else network


def build(image_shape: Shape, *, latent: Count = 40, prior: PriorName = "vamp", **given: Any) -> VAE:
    """A VAE with a VampPrior for images of that shape.

    Args:
        image_shape: [C, H, W].
        latent: size of the code, Z.
        prior: "vamp", or "standard", N(0, I), to compare it with.
        **given: settings of `VampPrior`, `ClippedGaussian` and, with the network of that name, `vamp_conv`; and
            `models.base.Shared`.
    """
    own, shared = split(given)
    network, widths = network_of(own, shared), (shared.pop("hidden"), shared.pop("decoder_hidden"))
    return assemble(
        image_shape,
        latent=latent,
        posterior=lambda features: ClippedGaussian(features, latent, **of(ClippedGaussian.__init__, own)),
        prior=VampPrior(image_shape, **of(VampPrior.__init__, own)) if prior == "vamp" else NoPseudoInputs(latent),
        **{**shared, "network": lambda image_shape, latent, channels: network(image_shape, latent, channels, *widths)},
    )
