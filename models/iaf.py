"""The VAE with inverse autoregressive flow, Kingma, Salimans, Jozefowicz, Chen, Sutskever & Welling (NeurIPS 2016).

    z_0 ~ N(mu(x), diag sigma(x)^2),   z_k = s_k z_{k-1} + (1 - s_k) m_k,   log q(z_K|x) = log q(z_0|x) - sum log s_k

with (m_k, logit s_k) = MADE_k(z_{k-1}, h(x)), whose output i sees z_1 .. z_{i-1} and the encoder's features h(x); the
order of the coordinates is reversed between steps. MADE is that of Germain et al. (2015), with one hidden layer of
PReLUs, as in the code of Park, Kim & Kim (2019).

Departure: there the mask covers the context too, so that every weight from h(x) is cut and the flow is the same for all
images. Here the context reaches every hidden unit, and some units have degree 0: they see the context only, and through
them the first coordinate depends on it. `context=False` is the flow as it was published.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.nn.functional import linear, logsigmoid

from models.base import VAE, Shared, assemble, merged
from models.distributions import Gaussian, Size
from models.domains import Count, Init, Shape, Whole
from models.gaussian import GaussianPosterior, StandardPrior
from models.parts import PosteriorPart
from models.schedules import Step


class Made(nn.Module):
    """m and logit s as functions of z and a context, the i-th of z_1 .. z_{i-1} only.

    Args:
        latent: Z.
        width: hidden units.
        features: size of the context; 0 is none.
        gate_bias: where the bias of logit s starts.
    """

    def __init__(self, latent: int, width: int, features: int, gate_bias: float):
        super().__init__()
        self.see: Tensor
        self.shown: Tensor
        self.inputs, self.gate_bias = nn.Linear(latent, width, bias=False), gate_bias
        self.context = nn.Linear(features, width, bias=False) if features else None
        self.bias = nn.Parameter(torch.randn(width))
        self.slope = nn.PReLU()
        self.m, self.logit_s = nn.Linear(width, latent), nn.Linear(width, latent)
        degrees = torch.randint(0 if features else min(1, latent - 1), max(1, latent), (width,))
        coordinates = torch.arange(1, latent + 1)
        self.register_buffer("see", (degrees[:, None] >= coordinates).float())  # [width, Z]
        self.register_buffer("shown", (coordinates[:, None] > degrees).float())  # [Z, width]

    @torch.no_grad()
    def start(self) -> None:
        """Sets the biases as the code of Park et al. does."""
        self.m.bias.normal_()
        self.logit_s.bias.fill_(self.gate_bias)

    def at(self, h: Tensor) -> Tensor:
        """What the context adds to the hidden units, [B, width]: computed once, however many codes follow."""
        return self.bias.expand(len(h), -1) if self.context is None else self.context(h) + self.bias

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """m and logit s, each [..., B, Z]."""
        hidden = self.slope(linear(z, self.inputs.weight * self.see) + context)
        m = linear(hidden, self.m.weight * self.shown, self.m.bias)
        return m, linear(hidden, self.logit_s.weight * self.shown, self.logit_s.bias)


class Flowed(Distribution):
    """A Gaussian behind an inverse autoregressive flow; the last axis is the event.

    Draws come with their density. That of another point would take Z passes through every step one after the other,
    and is not given.

    Args:
        base: of z_0, batch [B].
        steps: of the flow.
        contexts: what each step's context adds to its hidden units, [B, width].
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, base: Gaussian, steps: Sequence[Made], contexts: list[Tensor]):
        self.base, self.steps, self.contexts = base, steps, contexts
        self._drawn: tuple[Tensor, Tensor] | None = None
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def centre(self) -> Tensor:
        """The mean of z_0 through the flow, [B, Z]; neither the mode of q nor its mean, which have no closed form."""
        return self._flow(self.base.loc)[0]

    def rsample(self, sample_shape: Size = (), noise: Tensor | None = None) -> Tensor:
        """Reparameterised draws; arguments as for `Gaussian.rsample`, whose noise is z_0's."""
        start = self.base.rsample(sample_shape, noise)
        z, log_slope = self._flow(start)
        self._drawn = z, self.base.log_prob(start) - log_slope
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of the last draws, nats.

        Raises:
            ValueError: `value` is not what the last call of `rsample` or `sample` returned.
        """
        if self._drawn is None or value is not self._drawn[0]:
            raise ValueError(
                "an inverse autoregressive flow knows the density of its own last draws only; "
                "another point's would take one pass a coordinate"
            )
        return self._drawn[1]

    def _flow(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z_K in z_0's own order of coordinates, and sum log s_k."""
        total = torch.zeros_like(z[..., 0])
        for k, (made, context) in enumerate(zip(self.steps, self.contexts)):
            if k:
                z = z.flip(-1)
            m, logit_s = made(z, context)
            z = logit_s.sigmoid() * z + (-logit_s).sigmoid() * m
            total = total + logsigmoid(logit_s).sum(-1)
        return (z if len(self.contexts) % 2 or not self.contexts else z.flip(-1)), total


class FlowPosterior(PosteriorPart):
    """q(z|x): a Gaussian posterior and `flows` autoregressive steps, 0 of which leave it as it is.

    Args:
        features: of the encoder, F.
        latent: Z.
        flows: K, how many steps.
        flow_hidden: hidden units of each step's MADE.
        context: whether the steps see the encoder's features; without, as published, they are the same for all images.
        gate_bias: where logit s starts; large is near the identity.
    """

    name = "iaf"
    density = "own draws"
    codes_are = "the mean of z_0 through the flow"

    def __init__(
        self,
        features: int,
        latent: int,
        *,
        flows: Whole = 4,
        flow_hidden: Count = 500,
        context: bool = True,
        gate_bias: float = 2.0,
    ):
        super().__init__()
        self.amortised = GaussianPosterior(features, latent)
        self.flow = [Made(latent, flow_hidden, features if context else 0, gate_bias) for _ in range(flows)]
        self.steps = nn.ModuleList(self.flow)

    @classmethod
    def draw(cls, trial: Any) -> dict[str, Any]:
        return {"flows": trial.suggest_int("flows", 1, 8, log=True)}

    def start(self, init: Init) -> None:
        super().start(init)
        for made in self.flow:
            made.start()

    def codes(self, q: Distribution) -> Tensor:
        assert isinstance(q, Flowed)
        return q.centre

    def means(self, q: Distribution) -> Tensor:
        """The mean of z_0 through the flow, as in `codes`: the mean of z_K has no closed form."""
        return self.codes(q)

    def forward(self, model: VAE, x: Tensor, step: Step | None = None) -> Flowed:
        h = model.features(x)
        return Flowed(self.amortised.at(h), self.flow, [made.at(h) for made in self.flow])


PAPER: Shared = {"hidden": (500, 500), "likelihood": "gaussian", "init": "vlae"}
"""Of the settings that all models share, those that Park et al. (2019) have their own values of."""


def build(
    image_shape: Shape,
    *,
    latent: Count = 50,
    flows: Whole = 4,
    flow_hidden: Count = 500,
    context: bool = True,
    gate_bias: float = 2.0,
    **shared: Unpack[Shared],
) -> VAE:
    """A VAE with an inverse autoregressive flow for images of that shape.

    Args:
        image_shape: [C, H, W].
        latent: size of the code, Z.
        flows, flow_hidden, context, gate_bias: see `FlowPosterior`.
        **shared: see `models.base.Shared`.
    """
    return assemble(
        image_shape,
        latent=latent,
        posterior=lambda features: FlowPosterior(
            features, latent, flows=flows, flow_hidden=flow_hidden, context=context, gate_bias=gate_bias
        ),
        prior=StandardPrior(latent),
        **merged(PAPER, shared),
    )
