"""The VampPrior, Tomczak & Welling (AISTATS 2018): the mixture of the posteriors at learned pseudo-inputs.

p(z) = 1/K sum_k q(z|u_k)
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from models.base import VAE
from models.distributions import Size
from models.domains import Count, Shape
from models.parts import PriorPart

ROWS = 2**22  # numbers that are compared at once: codes times components times Z
START = (0.05, 0.01)  # mean and deviation of pseudo-inputs' pixels at the start, the authors' for MNIST and OMNIGLOT


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
            z = self.components.sample(torch.Size([shape.numel()]))  # [n, K, Z]
            chosen = torch.randint(z.shape[1], (len(z),), device=z.device)
            return z[torch.arange(len(z), device=z.device), chosen].reshape(*shape, *self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density, nats; value [..., Z]. Some codes at a time: all with all components need not fit in memory."""
        components = self.components.batch_shape[0]
        rows = value.reshape(-1, value.shape[-1]).split(max(1, ROWS // (components * value.shape[-1])))
        log_p = [self.components.log_prob(part[:, None]).logsumexp(-1) for part in rows]
        return torch.cat(log_p).reshape(value.shape[:-1]) - math.log(components)


class VampPrior(PriorPart):
    """p(z), whose pseudo-inputs are free images that are clamped to [0, 1].

    Args:
        image_shape: [C, H, W].
        pseudo_inputs: K.
    """

    name = "vamp"
    point_masses = None
    uses_posterior = True

    def __init__(self, image_shape: Shape, *, pseudo_inputs: Count = 500):
        super().__init__()
        mean, deviation = START
        self.pseudo_inputs = nn.Parameter(mean + deviation * torch.randn(pseudo_inputs, *image_shape))

    @classmethod
    def draw(cls, trial: Any) -> dict[str, Any]:
        return {"pseudo_inputs": trial.suggest_int("pseudo_inputs", 50, 500, log=True)}

    def own_rates(self) -> dict[str, list[nn.Parameter]]:
        return {"lr_pseudo_inputs": [self.pseudo_inputs]}

    def forward(self, model: VAE) -> EqualMixture:
        return EqualMixture(model.posterior(self.pseudo_inputs.clamp(0, 1)))
