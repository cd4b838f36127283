"""A model is three distributions, q(z|x), p(z) and p(x|z); everything else follows from them, here, once.

Kingma & Welling, "Auto-Encoding Variational Bayes" (ICLR 2014); importance-weighted estimates after Burda, Grosse &
Salakhutdinov, "Importance Weighted Autoencoders" (ICLR 2016).

Images are floats in [0, 1], [B, C, H, W]. Log-likelihoods and ELBOs are per image, in nats, larger is better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from models.distributions import closed_kl
from models.domains import Init, LikelihoodName, Margin, Network, Shape, Sigma, Widths
from models.likelihoods import Likelihood, likelihood_part
from models.networks import Encoder, encoder_decoder, initialise
from models.schedules import Schedule, Step

Loss = Callable[[Tensor, Step], Tensor]


class Elbo(NamedTuple):
    """The two halves of an evidence lower bound, each [B], in nats; the bound is their difference."""

    log_lik: Tensor  # log p(x|z) at one draw z ~ q(z|x)
    kl: Tensor  # KL(q(z|x) || p(z)), exact or at that draw


class VAE(nn.Module):
    """q(z|x), p(z) and p(x|z), from two networks and three parts.

    A posterior part is called as `part(model, x, step)`, a prior part as `part(model)`, and returns a Distribution with
    the event [Z]; they are called with the model because some need its likelihood or its encoder.

    Args:
        image_shape: [C, H, W].
        encoder: images to features, [B, C, H, W] to [B, F].
        decoder: codes to the likelihood's parameters, [B, Z] to [B, P * C, H, W].
        posterior: the posterior part.
        prior: the prior part.
        likelihood: the likelihood part.
        beta: the weight of the KL in the training loss, as a function of the step; evaluation uses 1.
    """

    batches = 1  # how many independent batches of images a step wants, one after the other
    name: str  # by which `models.build` built it
    hyperparameters: dict[str, Any]
    config: dict[str, Any]  # of an export, what its config.json says

    def __init__(
        self,
        image_shape: Shape,
        encoder: Encoder,
        decoder: nn.Sequential,
        posterior: nn.Module,
        prior: nn.Module,
        likelihood: Likelihood,
        beta: Schedule = lambda step: 1.0,
    ):
        super().__init__()
        self.image_shape = tuple(image_shape)
        self.encoder, self.decoder = encoder, decoder
        self.posterior_part, self.prior_part, self.likelihood_part = posterior, prior, likelihood
        self.beta = beta

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
        return self.posterior_part(self, x, step)

    def features(self, x: Tensor) -> Tensor:
        """What the encoder makes of images [B, C, H, W]: [B, F]."""
        features: Tensor = self.encoder(self.likelihood_part.seen(x))
        return features

    def prior(self) -> Distribution:
        """p(z), event [Z]."""
        return self.prior_part(self)

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x|z), for codes [..., Z]: batch [...], event [C, H, W]."""
        output = self.decoder(z.reshape(-1, z.shape[-1]))
        return self.likelihood_part(output.reshape(*z.shape[:-1], *output.shape[1:]))

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
        q, p = self.posterior(x, step), self.prior()
        given = {} if noise is None else {"noise": noise}
        z = q.rsample(**given)
        divergence = closed_kl(q, p) if kl == "closed" else None
        if divergence is None:
            divergence = q.log_prob(z) - p.log_prob(z)
        return Elbo(self.likelihood(z).log_prob(x), divergence)

    def loss(self, x: Tensor, step: Step) -> Tensor:
        """beta(step) KL - log p(x|z), the mean over the batch, in nats."""
        log_lik, kl = self.elbo(x, step)
        return (self.beta(step) * kl - log_lik).mean()

    def losses(self) -> list[tuple[str, Loss]]:
        """(optimiser, loss) in the order they are applied; each computes afresh and keeps no graph."""
        return [("model", self.loss)]

    def parameter_groups(self) -> dict[str, dict[str, list[nn.Parameter]]]:
        """A partition of the parameters: optimiser -> name of the learning rate -> parameters."""
        return {"model": {"lr": list(self.parameters())}}

    def fit_statistics(self, images: Tensor | Iterable[Tensor]) -> None:
        """Takes what the model needs of the training images into buffers, before step 0.

        Args:
            images: [N, C, H, W], floats in [0, 1] or uint8; or such tensors one after the other, where all the images
                at once would not fit in memory.
        """
        self.likelihood_part.fit_statistics(images)

    # Evaluation: exact, with beta = 1.

    def proposal(self, x: Tensor) -> Distribution:
        """r(z|x) that importance sampling draws from: the posterior, wherever it has a density."""
        return self.posterior(x)

    @torch.no_grad()
    def log_weights(self, x: Tensor, samples: int, rows: int = 16384) -> Tensor:
        """log p(x, z) - log r(z|x) for `samples` draws z ~ r(z|x) an image, [S, B], in nats.

        Their logmeanexp over S is the importance-weighted bound of Burda et al. (2016), Eq. 8.

        Args:
            x: images, [B, C, H, W].
            samples: S.
            rows: how many codes the decoder is given at once, which bounds the memory.
        """
        r, p, chunk = self.proposal(x), self.prior(), max(1, rows // len(x))
        parts = []
        for done in range(0, samples, chunk):
            z = r.sample(torch.Size([min(chunk, samples - done)]))
            parts.append(self.likelihood(z).log_prob(x) + p.log_prob(z) - r.log_prob(z))
        return torch.cat(parts)

    def codes(self, x: Tensor) -> Tensor:
        """What metrics read: the posterior's mode, [B, Z]; deterministic."""
        return self.posterior(x).mode

    def mean_codes(self, x: Tensor) -> Tensor:
        """The posterior's mean, [B, Z]."""
        return self.posterior(x).mean

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """Mean images of n draws from the prior, [n, C, H, W], in [0, 1]."""
        return self.likelihood(self.prior().sample(torch.Size([n]))).mean.clamp(0, 1)

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Mean images at the codes of x, [B, C, H, W], in [0, 1]."""
        return self.likelihood(self.codes(x)).mean.clamp(0, 1)


class PosteriorPart(nn.Module):
    """Base of the posterior parts, called as `part(model, x, step)`."""

    def start(self) -> None:
        """Sets what has a start of its own, after the layers' initialisation. Here: nothing."""

    def check(self, model: VAE) -> None:
        """Raises ValueError where the part does not go with the rest of the model. Here: never."""


def assemble(
    image_shape: Shape,
    *,
    latent: int,
    posterior: Callable[[int], PosteriorPart],
    prior: nn.Module,
    network: Network,
    hidden: Widths,
    decoder_hidden: Widths | None,
    likelihood: LikelihoodName,
    sigma: Sigma,
    init: Init,
    logit: Margin | None = None,
    beta: Schedule = lambda step: 1.0,
    kind: type[VAE] = VAE,
) -> VAE:
    """A model from its parts and the settings that every model takes.

    Args:
        image_shape: [C, H, W].
        latent: size of the code, Z.
        posterior: makes the posterior part, given the number of the encoder's features.
        prior: the prior part.
        network: "mlp" or "conv".
        hidden: widths of the encoder's fully connected layers, input side first.
        decoder_hidden: those of the decoder, code side first; None mirrors the encoder.
        likelihood: "bernoulli", "gaussian" or "logistic".
        sigma: the Gaussian likelihood's standard deviation: a number, "learned" or "per_pixel".
        init: how weights start, see `models.networks.initialise`.
        logit: l, where the Gaussian is one over logit(l + (1 - 2 l) x); None is one over x.
        beta: the weight of the KL in the training loss, as a function of the step.
        kind: the class, where a paper has a loss of its own.

    Raises:
        ValueError: an image has another number of axes, or the likelihood does not take a setting.
    """
    if len(image_shape) != 3:
        raise ValueError(f"takes single images, [C, H, W], got {list(image_shape)}, which are those of pairs")
    observe = likelihood_part(likelihood, image_shape, sigma, logit)
    channels = observe.parameters_per_pixel * image_shape[0]
    encoder, decoder = encoder_decoder(network, image_shape, latent, hidden, decoder_hidden, channels)
    part = posterior(encoder.features)
    model = kind(image_shape, encoder, decoder, part, prior, observe, beta=beta)
    initialise(model, init)
    part.start()
    part.check(model)
    return model
