"""Posteriors that can be drawn from and have no density, and the discriminator T that learns what it would be needed
for, as Mescheder, Nowozin & Geiger, "Adversarial Variational Bayes" (ICML 2017) train them.

    z = f(x, eps),   eps ~ N(0, I)
    loss             = E_q [ T(x, z) - log p(x|z) ],                                   T held fixed
    loss of T        = E_q softplus(-T(x, z)) + E_r softplus(T(x, z)),                 q held fixed
    at the best T:     T(x, z) = log q(z|x) - log r(z|x),   r(z|x) = p(z)

With adaptive contrast r is the Gaussian that has q's moments in place of the prior, and T's codes are whitened by it:

    KL(q || p) = E_q [ T(x, (z - m) / s) + log r(z|x) - log p(z) ],   r(z|x) = N(m(x), diag s(x)^2)

T's value is an estimate and no bound. The decoder and the prior have densities, so that the likelihood needs no T: it
is importance-weighted from a proposal that is fitted to draws of q.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn.functional import softplus

from models.base import VAE, Update
from models.distributions import Gaussian, PrecisionGaussian, Size, lower_factor
from models.measures import Elbo, Look, Measure
from models.memory import at_once
from models.parts import Part
from models.pathologies import Symptom
from models.schedules import Step

SEED = 0  # of the noise behind codes and moments, which is the same for all images and at all times
AVERAGED = 32  # draws behind a code that has no closed form
NARROWEST = 1e-4  # variance that r has at least: as in the authors' code
FITTED = 200  # draws that a proposal is fitted to, where the posterior's moments have no closed form
SPREAD = 1.5  # times their covariance: a proposal shall have heavier tails than what it is for
DEFENSIVE = 0.1  # share of the prior in a proposal, so that no weight exceeds 10 p(x|z)
CORRELATED = 20  # latents up to which a proposal has a full covariance
SURE = math.log(999)  # nats: beyond it T tells a draw with a probability of 0.999, and has 0.001 of the gradient
SATURATED = 0.99  # share of draws that are told so beyond which T has next to nothing to learn from

ADVERSARIAL_ELBO = Measure("adversarial_elbo", "ELBO by the discriminator", "nats", "more", "estimate")
SATURATION = Measure("discriminator_saturation", "saturation of the discriminator", "share", "less", "share")


class Implicit(Distribution):
    """Codes z = f(noise), which can be drawn and have no density.

    Args:
        f: from standard normal noise [..., B, *noise] to codes [..., B, Z].
        noise: shape of one draw's noise.
        like: a tensor [B, ...] of the codes' type, on their device.
        latent: Z.
        centre: gives E[z], or what comes near it, [B, Z].
        contrast: the Gaussian that has its moments, batch [B], without a gradient; None to contrast it with the prior.
        covariance: gives it, [B, Z, Z], where it has a closed form.
        numbers: in the largest tensor that a draw makes, see `models.memory`.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        f: Callable[[Tensor], Tensor],
        noise: tuple[int, ...],
        like: Tensor,
        latent: int,
        centre: Callable[[], Tensor],
        contrast: Gaussian | None = None,
        covariance: Callable[[], Tensor] | None = None,
        numbers: int = 1,
    ):
        self.f, self.noise, self.like, self.centre = f, noise, like, centre
        self.contrast, self.covariance, self.numbers = contrast, covariance, numbers
        super().__init__(like.shape[:1], torch.Size([latent]), validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.centre()

    def rsample(self, sample_shape: Size = (), noise: Tensor | None = None) -> Tensor:
        """Reparameterised draws, [*sample_shape, B, Z].

        Args:
            sample_shape: how many, ignored where the noise is given.
            noise: standard normal, [..., B, *noise].
        """
        return self.f(self._noise(sample_shape) if noise is None else noise)

    def sample(self, sample_shape: Size = ()) -> Tensor:
        """Draws, [*sample_shape, B, Z], without a gradient, and so some at a time."""
        shape = torch.Size(sample_shape)
        each = at_once(shape.numel(), len(self.like) * self.numbers)
        with torch.no_grad():
            pieces = [self.f(noise) for noise in self._noise([shape.numel()]).split(each)]
        return torch.cat(pieces).reshape(*shape, *self.batch_shape, *self.event_shape)

    def _noise(self, sample_shape: Size) -> Tensor:
        shape = torch.Size(sample_shape) + self.batch_shape + self.noise
        return torch.randn(shape, dtype=self.like.dtype, device=self.like.device)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean, [B, Z], and covariance, [B, Z, Z]; where these have no closed form, of `FITTED` draws."""
        if self.covariance is not None:
            return self.mean, self.covariance()
        z = self.sample([FITTED])
        centred = z - z.mean(0)
        return z.mean(0), torch.einsum("sbi,sbj->bij", centred, centred) / (FITTED - 1)

    def log_prob(self, value: Tensor) -> NoReturn:
        """There is none.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "an implicit posterior has no density; log_weights uses a fitted proposal, and adversarial_elbo is no bound"
        )


def seeded(*shape: int) -> Tensor:
    """Standard normal noise that is the same at all times, [*shape]."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(SEED), dtype=torch.float32, device="cpu")


class Defensive(Distribution):
    """A mixture of what was fitted and of what is everywhere.

    Args:
        near: batch [B], event [Z].
        wide: batch [], event [Z].
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    support = constraints.real_vector

    def __init__(self, near: Distribution, wide: Distribution):
        self.near, self.wide = near, wide
        super().__init__(near.batch_shape, near.event_shape, validate_args=False)

    def sample(self, sample_shape: Size = ()) -> Tensor:
        """Draws, [*sample_shape, B, Z]."""
        near = self.near.sample(torch.Size(sample_shape))
        wide = self.wide.sample(near.shape[:-1])
        return torch.where(torch.rand_like(near[..., :1]) < DEFENSIVE, wide, near)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density, nats; value [..., B, Z]."""
        near = self.near.log_prob(value) + math.log(1 - DEFENSIVE)
        return torch.logaddexp(near, self.wide.log_prob(value) + math.log(DEFENSIVE))


def fitted(loc: Tensor, covariance: Tensor) -> Distribution:
    """A Gaussian with a mean, [B, Z], and `SPREAD` times a covariance, [B, Z, Z], or of many latents its diagonal."""
    latent, wide = loc.shape[-1], SPREAD * covariance.double()  # so that what is next to a line has a factor
    if latent > CORRELATED:
        return Gaussian(loc, (wide.diagonal(dim1=-2, dim2=-1) + NARROWEST).sqrt().to(loc))
    factor = lower_factor(wide + NARROWEST * torch.eye(latent).to(wide))
    return PrecisionGaussian(loc, lower_factor(torch.cholesky_inverse(factor)).to(loc))


class Adversarial(VAE):
    """A VAE whose posterior has no density.

    Args:
        *parts: see `VAE`; the posterior gives an `Implicit`.
        discriminator: T.
        discriminator_steps: of T's optimiser, after each of the model's.
    """

    def __init__(self, *parts: Any, discriminator: Part, discriminator_steps: int, **more: Any):
        super().__init__(*parts, **more)
        self.discriminator, self.discriminator_steps = discriminator, discriminator_steps

    def parts(self) -> list[Part]:
        return [*super().parts(), self.discriminator]

    def contrast(self, q: Distribution) -> Gaussian:
        """r(z|x), which T tells q from."""
        r = q.contrast if isinstance(q, Implicit) and q.contrast is not None else self.prior()
        assert isinstance(r, Gaussian)
        return r

    def log_ratio(self, x: Tensor, q: Distribution, z: Tensor) -> Tensor:
        """T's estimate of log q(z|x) - log p(z), of images [B, C, H, W] and codes [B, Z]: [B], in nats."""
        r, p = self.contrast(q), self.prior()
        estimate: Tensor = self.discriminator(x, _white(z, r)) + r.log_prob(z) - p.log_prob(z)
        return estimate

    def _elbo(self, x: Tensor, q: Distribution, kl: Literal["closed", "sampled"] = "closed", noise: Any = None) -> Elbo:
        """log p(x|z) and T's estimate of the KL, at one draw: no bound, whatever `kl` asks for."""
        z = q.rsample() if noise is None else q.rsample(noise=noise)  # type: ignore[call-arg]  # our own take it
        return Elbo(self.log_likelihood(x, z), self.log_ratio(x, q, z))

    def _told(self, x: Tensor, q: Distribution) -> Tensor:
        """T of draws from q and of draws from r, [2, B]."""
        with torch.no_grad():
            z = _white(q.rsample(), self.contrast(q))
        told: Tensor = self.discriminator(x, torch.stack([z, torch.randn_like(z)]))
        return told

    def discriminator_loss(self, x: Tensor, step: Step) -> Tensor:
        """Twice the cross-entropy of telling q's draws from r's, in nats; 2 log 2 where there is nothing to tell."""
        with torch.no_grad():
            q = self.posterior(x, step)
        of_q, of_r = self._told(x, q)
        return softplus(-of_q).mean() + softplus(of_r).mean()

    def updates(self) -> list[Update]:
        second = Update("discriminator", "density ratio", self.discriminator_loss)
        return [Update("model", "adversarial elbo", self.loss), *[second] * self.discriminator_steps]

    def proposal(self, x: Tensor) -> Distribution:
        """A Gaussian with the moments of q(z|x), only wider, and a share of the prior."""
        with torch.no_grad():
            q = self.posterior(x)
            assert isinstance(q, Implicit)
            return Defensive(fitted(*q.moments()), self.prior())

    def measures(self) -> dict[Measure, Callable[[Tensor, Look], Tensor]]:
        """T's value of the ELBO, and the share of draws, q's and r's, that T tells beyond doubt."""

        def saturation(x: Tensor, look: Look) -> Tensor:
            of_q, of_r = self._told(x, look.posterior)
            return torch.stack([of_q > SURE, of_r < -SURE]).double().mean(0)

        return {ADVERSARIAL_ELBO: lambda x, look: look.elbo.log_lik - look.elbo.kl, SATURATION: saturation}

    def symptoms(self) -> list[Symptom]:
        return [*super().symptoms(), Symptom("saturated", SATURATION.name, SATURATED, 1.0)]


def _white(z: Tensor, r: Gaussian) -> Tensor:
    """Codes in r's coordinates, in which it is N(0, I)."""
    return (z - r.loc) / r.scale
