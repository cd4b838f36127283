"""What to do with a trained model's latents: the KL of each, the way between two images, the aggregated posterior.

Images are taken as `VAE.codes` takes them; nothing here has a gradient. Draws come from torch's global generator.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn.functional import cosine_similarity

from models import ModelError
from models.base import VAE
from models.distributions import Gaussian, closed_kl, coordinates
from models.inputs import Given, images_from


def name_of(model: VAE, latent: int) -> str:
    """What a coordinate of a code is called: "z 3", or by its place in its part, "z2 0"."""
    parts = [f"{part} {latent - at.start}" for part, at in model.slices.items() if at.start <= latent < at.stop]
    return parts[0] if parts else f"z {latent}"


@torch.no_grad()
def kl_by_latent(model: VAE, x: Given) -> Tensor:
    """KL(q(z_j|x) || p(z_j)) of each latent j, [B, Z], in nats, where posterior and prior have independent coordinates.

    These are Gaussian, spike-and-slab and every `Independent` distribution; the sum over j is then the KL of `elbo`.
    It is the closed form where one is registered, as for two Gaussians or two spike-and-slabs; else, as for the KL of
    `elbo`, an estimate at one draw.

    Raises:
        ModelError: the coordinates depend on each other, as those of a Laplace or a flow posterior and of a mixture for
            a prior do: the KLs of the marginals do not add up to the whole.
    """
    q, p = model.posterior(images_from(x, model)), model.prior()
    shares = kl_shares(q, p)
    if shares is not None:
        return shares
    parts = (("posterior", q), ("prior", p))
    tied = [f"the {name} ({type(d).__name__})" for name, d in parts if coordinates(d) is None]
    raise ModelError(
        f"the KL has no share of each latent: the coordinates of {' and of '.join(tied)} "
        f"are not known to be independent"
    )


def kl_shares(q: Distribution, p: Distribution) -> Tensor | None:
    """`kl_by_latent` of a posterior, batch [B], and a prior; None where their coordinates depend on each other."""
    each_q, each_p = coordinates(q), coordinates(p)
    if each_q is None or each_p is None:
        return None
    closed = closed_kl(each_q, each_p)
    if closed is not None:
        return closed
    z = q.sample()
    return each_q.log_prob(z) - each_p.log_prob(z)


@torch.no_grad()
def interpolate(model: VAE, a: Given, b: Given, steps: int = 8, *, spherical: bool = False) -> Tensor:
    """Mean images on the way from the codes of images a to those of images b, [steps, B, C, H, W].

    Args:
        model: in evaluation mode.
        a: where the ways start, [B, C, H, W].
        b: where they end, as many.
        steps: how many images a way has; the first and the last are the reconstructions of a and b.
        spherical: turn from one code to the other, White (2016), "Sampling generative networks", in place
            of a straight line. Under a Gaussian prior codes lie near a sphere, and the line leaves it.

    Raises:
        ModelError: images that the model does not take, not as many b as a, or a turn under a prior of another kind.
    """
    start, end = model.codes(a), model.codes(b)
    if start.shape != end.shape:
        raise ModelError(f"there must be as many images at the end as at the start, got {len(end)} and {len(start)}")
    t = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)[:, None, None]
    if not spherical:
        return model.decode(torch.lerp(start, end, t))
    if not isinstance(model.prior(), Gaussian):
        raise ModelError(
            "a spherical way is for a Gaussian prior, whose draws lie near a sphere; take the straight one"
        )
    return model.decode(_turned(start, end, t))


def _turned(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """(sin((1 - t) w) a + sin(t w) b) / sin w, with the angle w between the two; the line where sin w vanishes."""
    angle = cosine_similarity(a, b, dim=-1)[:, None].clamp(-1, 1).acos()
    sine = angle.sin()
    turned = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / sine
    return torch.where(sine > 1e-3, turned, torch.lerp(a, b, t))


@torch.no_grad()
def sample_aggregated(model: VAE, x: Given, n: int) -> Tensor:
    """n draws z from the aggregated posterior, the mean of q(z|x) over the images x, [n, Z].

    Each is a draw from the posterior of an image that is drawn with replacement; `model.decode` makes images of them.

    Args:
        model: in evaluation mode.
        x: images, [B, C, H, W].
        n: how many draws.
    """
    images = images_from(x, model)
    chosen = torch.randint(len(images), (n,), device=images.device)
    return model.posterior(images[chosen]).sample()
