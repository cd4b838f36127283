"""The variational autoencoder of Kingma & Welling (ICLR 2014), with the KL weight of Higgins et al. (ICLR 2017), and
what becomes of it with the posteriors and priors of other papers.

p(z) = N(0, I),   q(z|x) = N(mu(x), diag sigma(x)^2),   loss = -log p(x|z) + beta KL(q(z|x) || p(z))

Every posterior and prior of the folder that has a name is found here. A posterior goes with any prior for which the KL
divergence is finite and can be had, which follows from what the parts say of themselves, see `models.parts`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar

import models
from models.base import VAE, assemble
from models.domains import Count, Shape
from models.parts import Part, PosteriorPart, PriorPart, mismatch

T = TypeVar("T")
P = TypeVar("P", bound=Part)

FIRST = ("gaussian", "laplace", "svi", "householder", "iaf", "spike_slab", "standard", "vamp")
"""The order in which studies know these: a choice's place is part of what a seed draws. What is new comes after."""


@cache
def posteriors() -> dict[str, type[PosteriorPart]]:
    """The posteriors of the folder, by name."""
    return _ordered(models.parts_of(PosteriorPart))


@cache
def priors() -> dict[str, type[PriorPart]]:
    """The priors of the folder, by name."""
    return _ordered(models.parts_of(PriorPart))


def _ordered(found: Mapping[str, T]) -> dict[str, T]:
    return dict(sorted(found.items(), key=lambda item: FIRST.index(item[0]) if item[0] in FIRST else len(FIRST)))


@cache
def pairs() -> dict[str, tuple[str, ...]]:
    """The priors that each posterior goes with."""
    return {
        name: tuple(other for other, prior in priors().items() if not mismatch(posterior, prior))
        for name, posterior in posteriors().items()
    }


@cache
def settings() -> dict[str, tuple[Any, Any]]:
    """What `build` takes besides its own arguments: name -> (domain, default); `Shared` comes on top.

    The settings of a part that is not chosen do nothing.
    """
    literal: Any = Literal
    found: dict[str, tuple[Any, Any]] = {
        "posterior": (literal[tuple(posteriors())], "gaussian"),
        "prior": (literal[tuple(priors())], "standard"),
    }
    for part in (*posteriors().values(), *priors().values()):
        found |= models.keywords(part.__init__)
    return found


def idle(given: Mapping[str, Any]) -> set[str]:
    """Of these settings, those of parts that are not chosen."""
    chosen = posteriors()[given["posterior"]], priors()[given["prior"]]
    used = {name for part in chosen for name in models.keywords(part.__init__)}
    return set(settings()) - used - {"posterior", "prior"}


def build(image_shape: Shape, *, latent: Count = 20, **given: Any) -> VAE:
    """A VAE for images of that shape.

    Args:
        image_shape: [C, H, W].
        latent: size of the code, Z.
        **given: `posterior` and `prior` by name, settings of these, see `settings`, and `models.base.Shared`.

    Raises:
        ValueError: the posterior does not go with the prior, or not with the likelihood.
    """
    own = {key: given.pop(key, default) for key, (_, default) in settings().items()}
    posterior, prior = posteriors()[own["posterior"]], priors()[own["prior"]]
    if reason := mismatch(posterior, prior):
        takes = ", ".join(pairs()[posterior.name]) or "none"
        raise ValueError(f"posterior: {posterior.name} {reason}, with prior: {prior.name}; it goes with {takes}")
    known = {**own, "latent": latent, "image_shape": image_shape}
    return assemble(
        image_shape,
        latent=latent,
        posterior=lambda features: _made(posterior, {**known, "features": features}),
        prior=_made(prior, known),
        **given,
    )


def _made(part: type[P], known: Mapping[str, Any]) -> P:
    """A part from those of the known values that it takes."""
    return part(**{name: known[name] for name in inspect.signature(part).parameters})
