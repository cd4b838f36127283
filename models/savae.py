"""The semi-amortised VAE, Kim, Wiseman, Miller, Sontag & Rush (ICML 2018).

The encoder's Gaussian is where K steps of stochastic variational inference start, image by image; they climb the ELBO,
and training goes through them:

    lambda_0 = (mu(x), log sigma^2(x)),   lambda_{k+1} = lambda_k + eta clip(g_k),   q(z|x) = N(mu_K, diag sigma_K^2)
    g_k = gradient of log p(x|z) + log p(z) - log q(z; lambda_k) at z = mu_k + sigma_k eps_k

The two halves of g_k are clipped apart, to Euclidean norm c each. The code of Park, Kim & Kim (2019) steps down the
ELBO, divides by the batch size, and clips by the squared norm; none of that is kept.

In training each step draws its eps_k afresh. In the exact form, step=None, they are fixed numbers, the same for every
image, so that q(z|x) is a function of x alone; the steps are then not differentiated.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models import schedules
from models.base import VAE, PosteriorPart, assemble
from models.distributions import Gaussian
from models.domains import Count, Fraction, Init, LikelihoodName, Margin, Network, Positive, Shape, Sigma, Whole, Widths
from models.gaussian import GaussianPosterior, StandardPrior
from models.schedules import Step

SEED = 0  # of the noise in the exact form


class RefinedPosterior(PosteriorPart):
    """q(z|x): a Gaussian posterior and `steps` steps up the ELBO, 0 of which leave it as it is.

    Args:
        features: of the encoder.
        latent: Z.
        steps: K.
        rate: eta.
        clip: c; None leaves gradients as they are.
        second_order: whether training differentiates g_k too.
    """

    def __init__(
        self,
        features: int,
        latent: int,
        *,
        steps: int,
        rate: float,
        clip: float | None = 5.0,
        second_order: bool = True,
    ):
        super().__init__()
        self.amortised = GaussianPosterior(features, latent)
        self.steps, self.rate, self.clip, self.second_order = steps, rate, clip, second_order
        generator = torch.Generator().manual_seed(SEED)
        self.noise: Tensor
        self.register_buffer(
            "noise", torch.randn(steps, latent, generator=generator, dtype=torch.float32), persistent=False
        )

    def forward(self, model: VAE, x: Tensor, step: Step | None = None) -> Gaussian:
        noise = self.noise[:, None].expand(-1, len(x), -1)
        return self.refine(model, x, noise if step is None else torch.randn_like(noise), training=step is not None)[-1]

    def refine(self, model: VAE, x: Tensor, noise: Tensor, *, training: bool) -> list[Gaussian]:
        """q at lambda_0 .. lambda_K.

        Args:
            model: whose ELBO is climbed.
            x: images, [B, C, H, W].
            noise: eps_0 .. eps_{K-1}, [K, B, Z].
            training: whether the steps are kept for a gradient through them.
        """
        training = training and torch.is_grad_enabled()
        found, prior = [self.amortised(model, x)], model.prior()
        mu, log_var = found[0].loc, 2 * found[0].scale.log()
        for eps in noise:
            with torch.enable_grad():  # within no_grad too: a step is a gradient
                if not training:
                    mu, log_var = mu.detach().requires_grad_(), log_var.detach().requires_grad_()
                q = Gaussian(mu, (0.5 * log_var).exp())
                z = q.rsample(noise=eps)
                elbo = model.likelihood(z).log_prob(x) + prior.log_prob(z) - q.log_prob(z)
                graph = training and self.second_order
                gradients = torch.autograd.grad(elbo.sum(), (mu, log_var), create_graph=graph, retain_graph=training)
            if not training:
                mu, log_var = mu.detach(), log_var.detach()
            mu, log_var = (old + self.rate * self._clipped(g) for old, g in zip((mu, log_var), gradients))
            found.append(Gaussian(mu, (0.5 * log_var).exp()))
        return found

    def _clipped(self, g: Tensor) -> Tensor:
        if self.clip is None:
            return g
        return g * (self.clip / torch.linalg.vector_norm(g, dim=-1, keepdim=True).clamp(min=self.clip))


def build(
    image_shape: Shape,
    *,
    latent: Count = 50,
    svi_steps: Whole = 4,
    svi_rate: Positive = 0.02,
    svi_clip: Positive | None = 5.0,
    second_order: bool = True,
    beta: Positive = 1.0,
    kl_warmup: Fraction = 0.0,
    network: Network = "mlp",
    hidden: Widths = (500, 500),
    decoder_hidden: Widths | None = None,
    likelihood: LikelihoodName = "gaussian",
    sigma: Sigma = "learned",
    logit: Margin | None = None,
    init: Init = "vlae",
    steps: Count = 20_000,
) -> VAE:
    """A semi-amortised VAE for images of that shape.

    Args:
        image_shape: [C, H, W].
        latent: size of the code, Z.
        svi_steps: K, steps of refinement; 0 is the plain VAE.
        svi_rate: eta, for the gradient of one image's ELBO.
        svi_clip: largest norm of each half of that gradient; None is no limit.
        second_order: whether training differentiates through the gradients of the steps; without, only through the
            sums of the steps.
        beta: weight of the KL in the training loss.
        kl_warmup: share of the training over which that weight rises from 0.
        network: "mlp" or "conv".
        hidden: widths of the encoder's fully connected layers, input side first.
        decoder_hidden: those of the decoder, code side first; None mirrors the encoder.
        likelihood: "bernoulli", "gaussian" or "logistic".
        sigma: the Gaussian likelihood's standard deviation: a number, "learned" or "per_pixel".
        logit: l, where the Gaussian is one over logit(l + (1 - 2 l) x), see `models.likelihoods.LogitLikelihood`.
        init: how weights start, see `models.networks.initialise`.
        steps: length of the training that schedules are shares of, in optimiser steps.
    """
    return assemble(
        image_shape,
        latent=latent,
        posterior=lambda features: RefinedPosterior(
            features, latent, steps=svi_steps, rate=svi_rate, clip=svi_clip, second_order=second_order
        ),
        prior=StandardPrior(latent),
        network=network,
        hidden=hidden,
        decoder_hidden=decoder_hidden,
        likelihood=likelihood,
        sigma=sigma,
        logit=logit,
        init=init,
        beta=schedules.linear(0.0, beta, kl_warmup * steps),
    )
