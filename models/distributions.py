"""Distributions over codes, and the KL divergences between them.

A distribution here has the event [Z] inside and the images as its batch. Its draws can be handed their noise.

The spike-and-slab density is that of Tonolini, Jensen & Murray-Smith, "Variational Sparse Coding" (UAI 2019).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, constraints, kl_divergence, register_kl
from torch.distributions.utils import _standard_normal
from torch.nn.functional import logsigmoid

RELAXATIONS = ("sigmoid", "concrete", "straight_through")

Size = torch.Size | list[int] | tuple[int, ...]
"""What torch's distributions take as a shape."""


@contextmanager
def unchecked() -> Iterator[None]:
    """Within, torch's distributions do not look at what they are given, for which the host would wait for the device.

    Some make others inside, as Student's t does a chi-squared, and do not hand `validate_args` on to them.
    """
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


def lower_factor(matrix: Tensor) -> Tensor:
    """L of L L^T, for matrices [..., Z, Z]; NaN of those that have none. It does not wait for the device."""
    factor, info = torch.linalg.cholesky_ex(matrix)
    return torch.where(info[..., None, None] == 0, factor, math.nan)


class Gaussian(Independent):
    """N(loc, diag(scale^2)); the last axis is the event.

    Args:
        loc: means, [..., Z].
        scale: standard deviations, [..., Z].
    """

    def __init__(self, loc: Tensor, scale: Tensor):
        super().__init__(Normal(loc, scale, validate_args=False), 1, validate_args=False)

    @property
    def loc(self) -> Tensor:
        return self.base_dist.loc

    @property
    def scale(self) -> Tensor:
        return self.base_dist.scale

    def expand(self, batch_shape: Size, _instance: Distribution | None = None) -> Gaussian:
        shape = torch.Size(batch_shape) + self.event_shape
        return Gaussian(self.loc.expand(shape), self.scale.expand(shape))

    def sample(self, sample_shape: Size = ()) -> Tensor:
        """Draws, [*sample_shape, ..., Z]. Torch's own wait for the device, and raise where a scale is NaN."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Size = (), noise: Tensor | None = None) -> Tensor:
        """Reparameterised draws, [*sample_shape, ..., Z].

        Args:
            sample_shape: how many, ignored where the noise is given.
            noise: standard normal, of the draws' shape.
        """
        if noise is None:
            return super().rsample(sample_shape)
        return self.loc + self.scale * noise

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density, nats. From the differences, not from the squares of both, which cancel far from 0; and the log
        of the scales is summed before it meets many values, which torch's own does after.
        """
        white = (value - self.loc) / self.scale
        log_scale = self.scale.log().sum(-1)
        return -0.5 * (white.square().sum(-1) + white.shape[-1] * math.log(2 * math.pi)) - log_scale


class PrecisionGaussian(Distribution):
    """N(loc, (L L^T)^-1) with the lower Cholesky factor L of the precision; the last axis is the event.

    Args:
        loc: means, [..., Z].
        factor: L, [..., Z, Z].
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, factor: Tensor):
        self.loc, self.factor = loc, factor
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def covariance(self) -> Tensor:
        """(L L^T)^-1, [..., Z, Z]; for looking at: nothing here needs it."""
        return torch.cholesky_inverse(self.factor)

    def rsample(self, sample_shape: Size = (), noise: Tensor | None = None) -> Tensor:
        """Reparameterised draws, loc + L^-T noise, [*sample_shape, ..., Z].

        Args:
            sample_shape: how many, ignored where the noise is given.
            noise: standard normal, of the draws' shape.
        """
        if noise is None:
            noise = _standard_normal(self._extended_shape(sample_shape), self.loc.dtype, self.loc.device)
        extra = noise.ndim - self.loc.ndim  # one triangular solve a matrix, all of its draws as right-hand sides
        columns = noise.reshape(-1, *self.loc.shape).movedim(0, -1)
        drawn = torch.linalg.solve_triangular(self.factor.mT, columns, upper=True).movedim(-1, 0)
        return self.loc + drawn.reshape(noise.shape) if extra else self.loc + drawn[0]

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density, nats."""
        centred = value - self.loc
        white = torch.einsum("...i,...ij->...j", centred, self.factor)  # a product by @ would copy L for every draw
        log_det = self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return log_det - 0.5 * (white.square().sum(-1) + white.shape[-1] * math.log(2 * math.pi))


@register_kl(PrecisionGaussian, Gaussian)
def _kl_precision_gaussian_gaussian(q: PrecisionGaussian, p: Gaussian) -> Tensor:
    """KL between Gaussians, with tr(diag(s)^-2 (L L^T)^-1) as the squared norm of L^-1 diag(s)^-1; nats."""
    scale = p.scale.expand(q.loc.shape)
    trace = torch.linalg.solve_triangular(q.factor, torch.diag_embed(1 / scale), upper=False).square().sum((-2, -1))
    distance = ((q.loc - p.loc) / scale).square().sum(-1)
    log_det = q.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) + scale.log().sum(-1)
    return 0.5 * (trace + distance - scale.shape[-1]) + log_det


class SpikeSlab(Distribution):
    """z_j = 0 with probability 1 - probs_j, else z_j ~ N(loc_j, scale_j^2); the last axis is the event.

    `log_prob` is the density with respect to (point mass at 0 + Lebesgue) in each coordinate, so z_j == 0 means off.

    Args:
        loc: means of the slab, [..., Z].
        scale: standard deviations of the slab, [..., Z].
        probs: probabilities of the slab, that is of being non-zero, [..., Z].
        logits: the log-odds of `probs`, in its place; exact where probs would round to 0 or 1.
        steepness: None for exact draws. A number c relaxes the gate that switches the slab on, so that gradients
            reach `probs`; such draws have no density.
        relaxation: with a steepness, and eta uniform on [0, 1),
            "sigmoid": sigmoid(c (eta - 1 + probs)), the paper's;
            "concrete": sigmoid(c (logits + logit(eta))), Maddison et al. (2017) at temperature 1/c;
            "straight_through": the exact gate forwards, the gradient of "sigmoid" backwards.
        margin: how far `probs` keeps from 0 and 1 in exact draws, densities and KLs; the machine's epsilon if None.

    Raises:
        ValueError: both or neither of probs and logits are given; the relaxation is not known; a value is outside
            its constraint, unless `validate_args` is False.
    """

    arg_constraints = {  # noqa: RUF012
        "loc": constraints.real_vector,
        "scale": constraints.independent(constraints.positive, 1),
        "probs": constraints.independent(constraints.unit_interval, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor,
        probs: Tensor | None = None,
        *,
        logits: Tensor | None = None,
        steepness: float | Tensor | None = None,
        relaxation: str = "sigmoid",
        margin: float | None = None,
        validate_args: bool | None = None,
    ):
        if relaxation not in RELAXATIONS:
            raise ValueError(f"relaxation must be one of {', '.join(RELAXATIONS)}, got {relaxation!r}")
        if probs is None and logits is not None:
            probs = logits.sigmoid()
        elif probs is not None and logits is None:
            margin = torch.finfo(loc.dtype).eps if margin is None else margin
            logits = torch.logit(probs.clamp(margin, 1 - margin))
        else:
            raise ValueError("SpikeSlab takes either probs or logits of the slab, got both or neither")
        self.loc, self.scale, self.probs, self.logits = torch.broadcast_tensors(loc, scale, probs, logits)
        self.steepness, self.relaxation = steepness, relaxation
        super().__init__(self.loc.shape[:-1], self.loc.shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        """E[z], [..., Z]."""
        return self.probs * self.loc

    @property
    def variance(self) -> Tensor:
        """Var[z] by coordinate, [..., Z]."""
        return self.probs * (self.loc**2 + self.scale**2) - self.mean**2

    @property
    def mode(self) -> Tensor:
        """`loc` where the slab is at least as likely as the spike, else exactly 0; [..., Z]."""
        return torch.where(self.logits < 0, 0.0, self.loc)  # where they are NaN, it is no zero

    def expand(self, batch_shape: Size, _instance: Distribution | None = None) -> SpikeSlab:
        new = self._get_checked_instance(SpikeSlab, _instance)
        shape = torch.Size(batch_shape) + self.event_shape
        for name in ("loc", "scale", "probs", "logits"):  # both: the margin may hold logits away from probs
            setattr(new, name, getattr(self, name).expand(shape))
        new.steepness, new.relaxation = self.steepness, self.relaxation
        super(SpikeSlab, new).__init__(shape[:-1], self.event_shape, validate_args=False)
        return new

    def gate(self, eta: Tensor) -> Tensor:
        """What multiplies the slab: 0 or 1 in exact draws, in between in relaxed ones.

        Args:
            eta: uniform on [0, 1), [..., Z].
        """
        exact = (eta >= 1 - self.logits.sigmoid()).to(self.loc.dtype)
        if self.steepness is None:
            return exact
        if self.relaxation == "concrete":
            margin = torch.finfo(eta.dtype).eps
            return torch.sigmoid(self.steepness * (self.logits + torch.logit(eta, margin)))
        soft = torch.sigmoid(self.steepness * (eta - 1 + self.probs))
        return soft if self.relaxation == "sigmoid" else exact + (soft - soft.detach())

    def rsample(self, sample_shape: Size = (), noise: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Draws, [*sample_shape, ..., Z]; differentiable in loc and scale, and with a steepness in probs too.

        Args:
            sample_shape: how many, ignored where the noise is given.
            noise: (eps, eta), standard normal and uniform on [0, 1), both of the draws' shape.
        """
        if noise is None:
            shape = self._extended_shape(sample_shape)
            eps = _standard_normal(shape, self.loc.dtype, self.loc.device)
            eta = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
        else:
            eps, eta = noise
        return self.gate(eta) * (self.loc + self.scale * eps)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of exact draws [..., Z], in nats, [...].

        Raises:
            ValueError: the distribution is relaxed and its draws have no density; straight-through ones are exact.
        """
        if self.steepness is not None and self.relaxation != "straight_through":
            raise ValueError("relaxed spike-and-slab draws have no density; take the posterior with step=None")
        on = logsigmoid(self.logits) + Normal(self.loc, self.scale, validate_args=False).log_prob(value)
        return torch.where(value == 0, logsigmoid(-self.logits), on).sum(-1)


@register_kl(SpikeSlab, SpikeSlab)
def _kl_spike_slab_spike_slab(q: SpikeSlab, p: SpikeSlab) -> Tensor:
    """gamma KL(slab_q || slab_p) + KL(Bernoulli(gamma_q) || Bernoulli(gamma_p)), summed over the event; nats.

    Tonolini et al. (2019), supplement, Eq. 9, with the squares on the deviations that the printed formula lacks.
    A relaxed q counts as its exact form.
    """
    variance_ratio = (q.scale / p.scale) ** 2
    slab = 0.5 * (variance_ratio + ((q.loc - p.loc) / p.scale) ** 2 - 1 - variance_ratio.log())
    on = logsigmoid(q.logits) - logsigmoid(p.logits)
    off = logsigmoid(-q.logits) - logsigmoid(-p.logits)
    return (q.logits.sigmoid() * (slab + on) + (-q.logits).sigmoid() * off).sum(-1)


def closed_kl(q: Distribution, p: Distribution) -> Tensor | None:
    """KL(q || p) in nats, [B], where a closed form is registered for the two types; None where none is.

    Raises:
        ValueError: the two are distributions over events of different shapes.
    """
    if q.event_shape != p.event_shape:  # torch would raise the error of a missing closed form
        raise ValueError(
            f"posterior and prior must share an event shape, got {tuple(q.event_shape)} and {tuple(p.event_shape)}"
        )
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        return None


def coordinates(d: Distribution) -> Distribution | None:
    """The distributions of d's coordinates, batch [..., Z], where these are independent; None where that is not known.

    It is known of `SpikeSlab`, of `Gaussian` and of whatever else is torch's `Independent`.
    """
    if isinstance(d, SpikeSlab):
        loc, scale, logits = (value[..., None] for value in (d.loc, d.scale, d.logits))
        return SpikeSlab(loc, scale, logits=logits, validate_args=False)  # the event is [1]
    if isinstance(d, Independent) and d.reinterpreted_batch_ndims == 1 and not d.base_dist.event_shape:
        return d.base_dist
    return None
