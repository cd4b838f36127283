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

from typing import Any, Unpack

import torch
from torch import Tensor

from models.base import VAE, Shared, assemble, merged
from models.distributions import Gaussian
from models.domains import Count, Positive, Shape, Whole
from models.gaussian import GaussianPosterior, StandardPrior
from models.memory import at_once
from models.parts import PosteriorPart
from models.schedules import Step

SEED = 0  # of the noise in the exact form


class RefinedPosterior(PosteriorPart):
    """q(z|x): a Gaussian posterior and `svi_steps` steps up the ELBO, 0 of which leave it as it is.

    Args:
        features: of the encoder.
        latent: Z.
        svi_steps: K.
        svi_rate: eta, for the gradient of one image's ELBO.
        svi_clip: c, the largest norm of each half of that gradient; None is no limit.
        second_order: whether training differentiates through the gradients of the steps; without, only through the
            sums of the steps.
    """

    name = "svi"
    uses_prior = True

    def __init__(
        self,
        features: int,
        latent: int,
        *,
        svi_steps: Whole = 4,
        svi_rate: Positive = 0.02,
        svi_clip: Positive | None = 5.0,
        second_order: bool = True,
    ):
        super().__init__()
        self.amortised = GaussianPosterior(features, latent)
        self.rate, self.clip, self.second_order = svi_rate, svi_clip, second_order
        generator = torch.Generator().manual_seed(SEED)
        self.noise: Tensor
        self.register_buffer(
            "noise", torch.randn(svi_steps, latent, generator=generator, dtype=torch.float32), persistent=False
        )

    @classmethod
    def draw(cls, trial: Any) -> dict[str, Any]:
        return {
            "svi_steps": trial.suggest_int("svi_steps", 1, 8, log=True),
            "svi_rate": trial.suggest_float("svi_rate", 1e-3, 0.3, log=True),
        }

    def forward(self, model: VAE, x: Tensor, step: Step | None = None) -> Gaussian:
        noise = self.noise[:, None].expand(-1, len(x), -1)
        if step is not None:
            return self.refine(model, x, torch.randn_like(noise), training=True)[-1]
        size = len(x) if torch.is_grad_enabled() else at_once(len(x), x[0].numel())
        pieces = zip(x.split(size), noise.split(size, 1))
        found = [self.refine(model, some, eps, training=False)[-1] for some, eps in pieces]
        return Gaussian(torch.cat([q.loc for q in found]), torch.cat([q.scale for q in found]))

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


PAPER: Shared = {"hidden": (500, 500), "likelihood": "gaussian", "init": "vlae"}
"""Of the settings that all models share, those that Park et al. (2019) have their own values of."""


def build(
    image_shape: Shape,
    *,
    latent: Count = 50,
    svi_steps: Whole = 4,
    svi_rate: Positive = 0.02,
    svi_clip: Positive | None = 5.0,
    second_order: bool = True,
    **shared: Unpack[Shared],
) -> VAE:
    """A semi-amortised VAE for images of that shape.

    Args:
        image_shape: [C, H, W].
        latent: size of the code, Z.
        svi_steps, svi_rate, svi_clip, second_order: see `RefinedPosterior`.
        **shared: see `models.base.Shared`.
    """
    return assemble(
        image_shape,
        latent=latent,
        posterior=lambda features: RefinedPosterior(
            features, latent, svi_steps=svi_steps, svi_rate=svi_rate, svi_clip=svi_clip, second_order=second_order
        ),
        prior=StandardPrior(latent),
        **merged(PAPER, shared),
    )
