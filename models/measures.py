"""What is measured of a model, and what an evaluation sees of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributions import Distribution


class Elbo(NamedTuple):
    """The two halves of an evidence lower bound, each [B], in nats; the bound is their difference."""

    log_lik: Tensor  # log p(x|z) at one draw z ~ q(z|x)
    kl: Tensor  # KL(q(z|x) || p(z)), exact or at that draw


class Look(NamedTuple):
    """What an evaluation sees of a batch of images, for which the posterior is found once."""

    elbo: Elbo  # each half [B], exact form
    codes: Tensor  # [B, Z]
    posterior: Distribution  # q(z|x), exact form, batch [B], event [Z]


class Measure(NamedTuple):
    """A number that is taken of a model: a mean over images, or a number of all their codes."""

    name: str  # of the column
    title: str  # in a figure or a card
    unit: str  # "nats", "share", "units", ...
    better: Literal["more", "less"]
    kind: Literal["bound", "importance-weighted", "estimate", "share", "score"]
    needs: tuple[Literal["elbo", "codes", "means", "weights", "factors", "labels"], ...] = ("elbo",)
    when: Literal["report", "asked", "confirm"] = "report"  # "asked": at reports if the preset names it, else as last
