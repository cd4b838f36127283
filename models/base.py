"""A model is three distributions, q(z|x), p(z) and p(x|z); everything else follows from them, here, once.

Kingma & Welling, "Auto-Encoding Variational Bayes" (ICLR 2014); importance-weighted estimates after Burda, Grosse &
Salakhutdinov, "Importance Weighted Autoencoders" (ICLR 2016).

Images are floats in [0, 1], [B, C, H, W]. Log-likelihoods and ELBOs are per image, in nats, larger is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate, pairwise
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypedDict

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from models.distributions import closed_kl
from models.domains import Edges, Fraction, Init, LikelihoodName, Margin, Network, Positive, Shape, Sigma, Widths
from models.inputs import Given, check_count, codes_from, images_from
from models.likelihoods import Likelihood, likelihood_part
from models.measures import Elbo, Look, Measure
from models.memory import at_once
from models.networks import NETWORKS, Encoder, Networks, initialise
from models.parts import Part, PosteriorPart, PriorPart
from models.pathologies import LEAST_KL, LEAST_UNITS, Symptom
from models.schedules import Ramp, Schedule, Step, linear

Loss = Callable[[Tensor, Step], Tensor]

DRAWN = 2**14  # codes that importance sampling draws at once; another number would draw others


class Update(NamedTuple):
    """One pass of an optimiser, of which a training step has one or several.

    A loss that is exactly 0 leaves the weights as they are: there is nothing to minimise.
    """

    optimiser: str  # of `parameter_groups`
    name: str  # of what is minimised, in tables
    loss: Loss


class VAE(nn.Module):
    """q(z|x), p(z) and p(x|z), from two networks and three parts.

    Parts are called with the model, because some need its likelihood or its encoder, see `models.parts`.

    Args:
        image_shape: [C, H, W].
        encoder: images to features, [B, C, H, W] to [B, F].
        decoder: codes to the likelihood's parameters, [B, Z] to [B, P * C, H, W].
        posterior: the posterior part.
        prior: the prior part.
        likelihood: the likelihood part.
        beta: the weight of the KL in the training loss, as a schedule; evaluation uses 1.

    Attributes:
        batches: how many independent batches of images a step wants, one after the other.
        budget: length of the training in optimiser steps, of which schedules are shares; who trains, says it.
        slices: of the codes, by the names of their parts; empty where a code has none.
    """

    batches = 1
    budget = 20_000
    slices: Mapping[str, slice] = MappingProxyType({})
    name: str  # by which `models.build` built it
    hyperparameters: dict[str, Any]
    config: dict[str, Any]  # of an export, what its config.json says

    def __init__(
        self,
        image_shape: Shape,
        encoder: Encoder,
        decoder: nn.Sequential,
        posterior: PosteriorPart,
        prior: PriorPart,
        likelihood: Likelihood,
        beta: Schedule = lambda step, budget: 1.0,
    ):
        super().__init__()
        self.image_shape = tuple(image_shape)
        self.encoder, self.decoder = encoder, decoder
        self.posterior_part, self.prior_part, self.likelihood_part = posterior, prior, likelihood
        self.beta = beta

    def parts(self) -> list[Part]:
        """The posterior, the prior and the likelihood; where a class makes further parts, these too."""
        return [self.posterior_part, self.prior_part, self.likelihood_part]

    # The three distributions.

    def posterior(self, x: Tensor, step: Step | None = None) -> Distribution:
        """q(z|x), batch [B], event [Z].

        Args:
            x: images, [B, C, H, W].
            step: None for the exact form, which every evaluation uses; at a training step it may be relaxed.

        Raises:
            ValueError: x does not have the shape that the model was built for.
        """
        if x.shape[1:] != self.image_shape:
            raise ValueError(f"the model was built for images {[*self.image_shape]}, got a batch {[*x.shape]}")
        q: Distribution = self.posterior_part(self, x, step)
        return q

    def features(self, x: Tensor) -> Tensor:
        """What the encoder makes of images [B, C, H, W]: [B, F]."""
        features: Tensor = self.encoder(self.likelihood_part.seen(x))
        return features

    def prior(self) -> Distribution:
        """p(z), event [Z]."""
        p: Distribution = self.prior_part(self)
        return p

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x|z), for codes [..., Z]: batch [...], event [C, H, W]."""
        output = self.decoder(z.reshape(-1, z.shape[-1]))
        p: Distribution = self.likelihood_part(output.reshape(*z.shape[:-1], *output.shape[1:]))
        return p

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z) of images [B, C, H, W] at codes [..., B, Z]: [..., B], in nats.

        Where there is no gradient some are decoded at a time, see `models.memory`.
        """
        if torch.is_grad_enabled():
            return self.likelihood(z).log_prob(x)
        z_SBZ = z.reshape(-1, *z.shape[-2:])
        numbers = self.likelihood_part.parameters_per_pixel * math.prod(self.image_shape)
        images = at_once(len(x), numbers)
        draws = at_once(len(z_SBZ), images * numbers)

        def of(part_SBZ: Tensor) -> Tensor:
            pieces = zip(part_SBZ.split(images, 1), x.split(images))
            return torch.cat([self.likelihood(at).log_prob(some) for at, some in pieces], 1)

        return torch.cat([of(part) for part in z_SBZ.split(draws)]).reshape(z.shape[:-1])

    # Training.

    def elbo(
        self, x: Tensor, step: Step | None = None, *, kl: Literal["closed", "sampled"] = "closed", noise: Any = None
    ) -> Elbo:
        """One-draw estimate of the evidence lower bound, Kingma & Welling (2014), Eq. 3.

        Args:
            x: images, [B, C, H, W].
            step: as in `posterior`.
            kl: "closed" is the closed form where one is registered, else the estimate; "sampled" is the estimate
                log q(z|x) - log p(z) at the draw.
            noise: what the draw from the posterior uses for randomness, see its `rsample`.

        Returns:
            log_lik and kl, each [B]; log p(x) >= log_lik - kl in expectation over z, where step is None.
        """
        return self._elbo(x, self.posterior(x, step), kl, noise)

    def _elbo(self, x: Tensor, q: Distribution, kl: Literal["closed", "sampled"] = "closed", noise: Any = None) -> Elbo:
        p = self.prior()
        z = q.rsample() if noise is None else q.rsample(noise=noise)  # type: ignore[call-arg]  # our own take it
        divergence = closed_kl(q, p) if kl == "closed" else None
        if divergence is None:
            divergence = q.log_prob(z) - p.log_prob(z)
        return Elbo(self.log_likelihood(x, z), divergence)

    def loss(self, x: Tensor, step: Step) -> Tensor:
        """beta(step) KL - log p(x|z), the mean over the batch, in nats."""
        log_lik, kl = self.elbo(x, step)
        return (self.beta(step, self.budget) * kl - log_lik).mean()

    def updates(self) -> list[Update]:
        """The updates of a step in the order they are applied; each computes afresh and keeps no graph."""
        return [Update("model", "elbo", self.loss)]

    def parameter_groups(self) -> dict[str, dict[str, list[nn.Parameter]]]:
        """A partition of the parameters: optimiser -> name of the learning rate -> parameters."""
        groups: dict[str, dict[str, list[nn.Parameter]]] = {"model": {"lr": []}}
        apart: set[int] = set()
        for part in self.parts():
            own = part.own_rates()
            apart |= {id(parameter) for group in own.values() for parameter in group}
            if part.optimiser != "model":
                rest = [parameter for parameter in part.parameters() if id(parameter) not in apart]
                apart |= {id(parameter) for parameter in rest}
                own = {f"lr_{part.optimiser}": rest, **own}
            groups.setdefault(part.optimiser, {}).update(own)
        groups["model"]["lr"] = [parameter for parameter in self.parameters() if id(parameter) not in apart]
        return groups

    def own_settings(self) -> dict[str, Any]:
        """What a training takes that is not told otherwise: `lr_<optimiser>` and `betas_<optimiser>`."""
        return {f"{key}_{part.optimiser}": value for part in self.parts() for key, value in part.adam.items()}

    def fit_statistics(self, images: Tensor | Iterable[Tensor]) -> None:
        """Takes what the model needs of the training images into buffers, before step 0.

        Args:
            images: [N, C, H, W], floats in [0, 1] or uint8; or what gives such tensors one after the other, as often
                as it is asked to, where all the images at once would not fit in memory.
        """
        for part in self.parts():
            part.fit_statistics(images)

    # Evaluation: exact, with beta = 1.

    def proposal(self, x: Tensor) -> Distribution:
        """r(z|x) that importance sampling draws from: the posterior, wherever it has a density."""
        return self.posterior(x)

    @torch.no_grad()
    def log_weights(self, x: Tensor, samples: int, rows: int = DRAWN) -> Tensor:
        """log p(x, z) - log r(z|x) for `samples` draws z ~ r(z|x) an image, [S, B], in nats.

        Their logmeanexp over S is the importance-weighted bound of Burda et al. (2016), Eq. 8.

        Args:
            x: images, [B, C, H, W].
            samples: S.
            rows: how many codes are decoded at once, at most; what is drawn does not depend on it.
        """
        r, p, draws = self.proposal(x), self.prior(), max(1, DRAWN // len(x))
        parts = []
        for done in range(0, samples, draws):
            z = r.sample(torch.Size([min(draws, samples - done)]))
            log_lik = torch.cat([self.log_likelihood(x, some) for some in z.split(max(1, rows // len(x)))])
            parts.append(log_lik + p.log_prob(z) - r.log_prob(z))
        return torch.cat(parts)

    def look(self, x: Tensor) -> Look:
        """What an evaluation sees of images: the ELBO in its exact form at one draw, and the codes."""
        q = self.posterior(x)
        return Look(self._elbo(x, q), self.posterior_part.codes(q), q)

    def measures(self) -> dict[Measure, Callable[[Tensor, Look], Tensor]]:
        """What a paper measures of its model besides what all have: from images and `Look` to one number each, [B]."""
        return {}

    def symptoms(self) -> list[Symptom]:
        """What of a report shows that the training has come to nothing; a class adds its own, see `models.pathologies`.

        A KL that a discriminator estimates is no evidence: it may lie anywhere.
        """
        known = [] if self.posterior_part.density == "none" else [Symptom("collapsed", "kl", LEAST_KL, 0.0)]
        of_parts = [symptom for part in self.parts() for symptom in part.symptoms()]
        return [Symptom("collapsed", "active_units", LEAST_UNITS, 0.0), *known, *of_parts]

    @property
    def settled(self) -> float:
        """The share of the training after which no schedule of `models.schedules` moves: all warm-ups are over."""
        kept = (value for module in self.modules() for value in vars(module).values())
        return max((value.length for value in kept if isinstance(value, Ramp)), default=0.0)

    # For scripts, which give images as `images_from` takes them. There is no gradient unless `grad` asks for one.

    def codes(self, x: Given, *, grad: bool = False) -> Tensor:
        """What metrics read, [B, Z]; deterministic. For most posteriors it is the mode.

        Args:
            x: images, [B, C, H, W], uint8 or floats in [0, 1].
            grad: keep the gradient, as far as the exact posterior has one: refinement by `savae` ends it.

        Raises:
            ModelError: the images are none that the model takes.
        """
        with torch.set_grad_enabled(grad):
            return self.posterior_part.codes(self.posterior(images_from(x, self)))

    def decode(self, z: Given, *, grad: bool = False) -> Tensor:
        """Mean images of codes [..., Z]: [..., C, H, W], in [0, 1]; of a single code [Z], one image.

        Raises:
            ModelError: the last axis is not Z.
        """
        with torch.set_grad_enabled(grad):
            return self._mean_images(codes_from(z, self))

    def sample(self, n: int, *, grad: bool = False) -> Tensor:
        """Mean images of n draws from the prior, [n, C, H, W], in [0, 1]; the draws themselves have no gradient.

        Raises:
            ModelError: n is no number of images.
        """
        check_count(n)
        with torch.set_grad_enabled(grad):
            return self._mean_images(self.prior().sample(torch.Size([n])))

    def reconstruct(self, x: Given, *, grad: bool = False) -> Tensor:
        """Mean images at the codes of x, [B, C, H, W], in [0, 1]; x as for `codes`."""
        with torch.set_grad_enabled(grad):
            return self._mean_images(self.codes(x, grad=grad))

    def _mean_images(self, z: Tensor) -> Tensor:
        return self.likelihood(z).mean.clamp(0, 1)


def side_by_side(names: Iterable[str], sizes: Iterable[int]) -> dict[str, slice]:
    """Where the parts of a code stand in it, see `VAE.slices`."""
    return {name: slice(a, b) for name, (a, b) in zip(names, pairwise([0, *accumulate(sizes)]))}


class Shared(TypedDict, total=False):
    """The settings that every model takes, whatever its paper; `assemble` has their defaults.

    beta: weight of the KL in the training loss; evaluation uses 1.
    kl_warmup: share of the training over which that weight rises from 0.
    network: a name in `models.networks.NETWORKS`.
    hidden: widths of the encoder's fully connected layers, input side first; a paper's own networks have theirs.
    decoder_hidden: those of the decoder, code side first; None mirrors the encoder.
    likelihood: "bernoulli", "gaussian" or "logistic".
    sigma: the Gaussian likelihood's standard deviation: a number, "learned" or "per_pixel".
    logit: l, where the Gaussian is one over logit(l + (1 - 2 l) x), see `models.likelihoods.LogitLikelihood`.
    edges: of the logistic likelihood's outermost bins, see `models.likelihoods.DiscretizedLogistic`.
    init: how weights start, see `models.networks.initialise`.
    """

    beta: Positive
    kl_warmup: Fraction
    network: Network
    hidden: Widths
    decoder_hidden: Widths | None
    likelihood: LikelihoodName
    sigma: Sigma
    logit: Margin | None
    edges: Edges
    init: Init


def merged(paper: Shared, given: Shared) -> Shared:
    """The paper's own values of the shared settings, under what is given."""
    return {**paper, **given}


def assemble(
    image_shape: Shape,
    *,
    latent: int,
    posterior: Callable[[int], PosteriorPart],
    prior: PriorPart,
    beta: float = 1.0,
    kl_warmup: float = 0.0,
    network: Network | Networks = "mlp",
    hidden: Widths = 500,
    decoder_hidden: Widths | None = None,
    likelihood: LikelihoodName = "bernoulli",
    sigma: Sigma = "learned",
    logit: float | None = None,
    edges: Edges = "open",
    init: Init = "torch",
    kind: Callable[..., VAE] = VAE,
) -> VAE:
    """A model from its parts and the `Shared` settings.

    Args:
        image_shape: [C, H, W].
        latent: size of the code, Z.
        posterior: makes the posterior part, given the number of the encoder's features.
        prior: the prior part.
        network: a name, or a paper's own function from (image_shape, latent, channels) to (encoder, decoder).
        kind: makes the model, where a paper has a loss or a factorisation of its own.

    Raises:
        ValueError: the network does not take such images, the likelihood does not take a setting, or a part does not
            go with the rest.
    """
    observe = likelihood_part(likelihood, image_shape, sigma, logit, edges)
    channels = observe.parameters_per_pixel * image_shape[-3]
    if isinstance(network, str):
        encoder, decoder = NETWORKS[network](image_shape, latent, channels, hidden, decoder_hidden)
    else:
        encoder, decoder = network(image_shape, latent, channels)
    part, weight = posterior(encoder.features), linear(0.0, beta, kl_warmup)
    model = kind(image_shape, encoder, decoder, part, prior, observe, beta=weight)
    initialise(encoder, init)
    initialise(decoder, init)
    for each in model.parts():
        each.start(init)
    for each in model.parts():
        each.check(model)
    return model
