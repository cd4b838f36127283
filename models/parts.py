"""What a model is put together from, besides its two networks: a posterior, a prior, a likelihood, a discriminator.

All of them have the same hooks, each of which may be left as it is here, and say of themselves what others need to
know: which posterior goes with which prior follows from that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor, nn
from torch.distributions import Distribution

from models.domains import Init
from models.networks import initialise
from models.pathologies import Symptom

if TYPE_CHECKING:
    from models.base import VAE

Density = Literal["anywhere", "own draws", "none"]


class Part(nn.Module):
    """Base of all parts.

    Attributes:
        name: by which `vae` knows a posterior or a prior; one without a name is its paper's alone. What `vae` builds
            takes `features`, `latent` and `image_shape`, as far as it has such arguments, and keyword-only settings.
        optimiser: who trains it; one that is not "model", such as a discriminator's, has the rate `lr_<optimiser>`.
        adam: `lr` and `betas` of that optimiser, where its paper has its own; a training's `lr_<optimiser>` and
            `betas_<optimiser>` go before.
    """

    name: ClassVar[str] = ""
    optimiser: ClassVar[str] = "model"
    adam: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def start(self, init: Init) -> None:
        """Draws the weights' start; a part that has one of its own overrides this. Here: that of all layers."""
        initialise(self, init)

    def check(self, model: VAE) -> None:
        """Raises ValueError where the part does not go with the rest of the model. Here: never."""

    def fit_statistics(self, images: Tensor | Iterable[Tensor]) -> None:
        """Takes what the part needs of the training images, see `VAE.fit_statistics`. Here: nothing."""

    def own_rates(self) -> dict[str, list[nn.Parameter]]:
        """Parameters that have a learning rate of their own, by its name, `lr_<group>`. Here: none."""
        return {}

    def symptoms(self) -> list[Symptom]:
        """What of a report shows that the part has failed, see `VAE.symptoms`. Here: nothing."""
        return []

    @classmethod
    def draw(cls, trial: Any) -> dict[str, Any]:
        """Draws the settings that a search of `vae` over parts varies, from an Optuna trial. Here: none."""
        return {}


class PosteriorPart(Part):
    """q(z|x): called as `part(model, x, step)`, returns a Distribution, batch [B], event [Z].

    Attributes:
        point_masses: whether draws are exactly 0 with a probability of their own.
        density: where `log_prob` can be had: anywhere, at the distribution's own last draws only, or nowhere.
        uses_prior: whether q is found with the prior's help.
        codes_are: what `codes` reads of q, for a model card.
    """

    point_masses: ClassVar[bool] = False
    density: ClassVar[Density] = "anywhere"
    uses_prior: ClassVar[bool] = False
    codes_are: ClassVar[str] = "the mode of the posterior"

    def codes(self, q: Distribution) -> Tensor:
        """What metrics read of q, [B, Z]; deterministic. Here: the mode."""
        mode: Tensor = q.mode
        return mode

    def means(self, q: Distribution) -> Tensor:
        """E[z] under q, [B, Z], which active units are counted on; where it has no closed form, what comes near it."""
        mean: Tensor = q.mean
        return mean


class PriorPart(Part):
    """p(z): called as `part(model)`, returns a Distribution, event [Z].

    Attributes:
        point_masses: whether draws are exactly 0 with a probability of their own; None: as the posterior has it.
        uses_posterior: whether p is made of the posterior's densities.
        non_zero_share: of the coordinates of its draws, where it has point masses and knows.
    """

    point_masses: ClassVar[bool | None] = False
    uses_posterior: ClassVar[bool] = False
    non_zero_share: float | None = None


def mismatch(posterior: type[PosteriorPart], prior: type[PriorPart]) -> str:
    """Why a posterior does not go with a prior, as what is said of the posterior; empty where it does."""
    if prior.point_masses is not None and posterior.point_masses != prior.point_masses:
        if posterior.point_masses:
            return "has point masses at 0, which a prior with a density gives no probability: the KL is infinite"
        return "is almost never exactly 0, where the prior has point masses: the KL is infinite"
    if posterior.density == "none":
        return "has no density, and so no KL but one that is learned, as `model: avb` does"
    if prior.uses_posterior and posterior.uses_prior:
        return "is found through the prior, and a VampPrior through the posterior: neither could come first"
    if prior.uses_posterior and posterior.density != "anywhere":
        return "would have to be inverted coordinate by coordinate to give its density at another image's code"
    return ""
