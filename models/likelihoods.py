"""p(x|z): what a decoder's output means.

A likelihood is a small module that turns the decoder's output, [..., P * C, H, W] with P = `parameters_per_pixel`,
into a torch Distribution over images with the event [C, H, W]. Log-densities are sums over the event, in nats, with
their constants.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import (
    AffineTransform,
    Bernoulli,
    Distribution,
    Independent,
    Normal,
    SigmoidTransform,
    TransformedDistribution,
    constraints,
)
from torch.nn.functional import logsigmoid

from models.distributions import Size
from models.domains import Edges, LikelihoodName, Shape, Sigma
from models.parts import Part

Pixels = Literal["binary", "grey", "dequantised"]


ROUNDING = 1e-15  # of a variance of pixels in [0, 1], in double precision; 256 levels that differ anywhere have more


class Likelihood(Part):
    """Base: the decoder's output, [..., P * C, H, W], to a distribution over images.

    Args:
        image_shape: the event, [C, H, W].
    """

    parameters_per_pixel = 1

    def __init__(self, image_shape: Shape):
        super().__init__()
        self.axes = len(image_shape)

    def forward(self, output: Tensor) -> Distribution:
        raise NotImplementedError

    def seen(self, x: Tensor) -> Tensor:
        """What the encoder is given of images in [0, 1]. Here: the images."""
        return x

    def quadratic(self, output: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Score and Fisher information of log p(x|output) with respect to the decoder's output, pixel by pixel.

        Args:
            output: of the decoder, [B, C, H, W].
            x: images, [B, C, H, W].

        Returns:
            d log p / d output, [B, C, H, W], and the information, of the same shape, or one number for all.
        """
        raise NotImplementedError

    def check_quadratic(self) -> None:
        """Raises ValueError where there is no `quadratic`."""
        raise ValueError("a Laplace posterior takes bernoulli pixels, or gaussian ones with one sigma for all")

    def common_variance(self) -> Tensor | None:
        """The variance that all pixels have; None where each has its own."""
        return None

    def kind(self, pixels: Pixels) -> str:
        """What an ELBO under this likelihood is: a `bound` on a log-likelihood, or something else by its name.

        Args:
            pixels: what those of the data are: 0 and 1; any of 256 grey levels; or dequantised, with a density.
        """
        return "bound"


class BernoulliLikelihood(Likelihood):
    """Independent Bernoulli pixels, the output being their log-odds.

    Grey targets are allowed, and then the value is a cross-entropy, not the log-likelihood of anything.
    """

    def forward(self, output: Tensor) -> Distribution:
        return Independent(Bernoulli(logits=output, validate_args=False), self.axes, validate_args=False)

    def quadratic(self, output: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The information has a floor of 1e-5, as in the code of Park et al. (2019)."""
        p = output.sigmoid()
        inside = p.clamp(1e-5, 1 - 1e-5)
        return x - p, inside * (1 - inside) + 1e-5

    def check_quadratic(self) -> None:
        """There is."""

    def kind(self, pixels: Pixels) -> str:
        return "bound" if pixels == "binary" else "soft cross-entropy"


class IsotropicGaussian(Independent):
    """N(loc, scale^2 I) over images: their distance from loc is all that a log-density looks at pixel by pixel.

    Args:
        loc: means, [..., C, H, W].
        scale: the standard deviation of all pixels, [1].
        axes: of an image.
    """

    def __init__(self, loc: Tensor, scale: Tensor, axes: int):
        super().__init__(Normal(loc, scale, validate_args=False), axes, validate_args=False)
        self.scale = scale

    def expand(self, batch_shape: Size, _instance: Distribution | None = None) -> IsotropicGaussian:
        loc = self.mean.expand(torch.Size(batch_shape) + self.event_shape)
        return IsotropicGaussian(loc, self.scale, self.reinterpreted_batch_ndims)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density, nats."""
        distance2 = (value - self.mean).square().flatten(-self.reinterpreted_batch_ndims).sum(-1)
        constant = self.event_shape.numel() * (self.scale.log() + 0.5 * math.log(2 * math.pi))
        return -0.5 * distance2 / self.scale.square() - constant


class GaussianLikelihood(Likelihood):
    """Independent Gaussian pixels; the output, plus the mean training image, is the mean.

    Args:
        image_shape: [C, H, W].
        sigma: the standard deviation: a number; "learned", one scalar whose start is the training images' own
            deviation from their mean; or "per_pixel", a second output of the decoder, its log.
    """

    def __init__(self, image_shape: Shape, sigma: Sigma):
        super().__init__(image_shape)
        self.mean_image: Tensor
        self.sigma = sigma
        self.parameters_per_pixel = 2 if sigma == "per_pixel" else 1
        self.register_buffer("mean_image", torch.zeros(image_shape))
        if sigma == "learned":
            self.log_var = nn.Parameter(torch.zeros(1))

    @torch.no_grad()
    def fit_statistics(self, images: Tensor | Iterable[Tensor]) -> None:
        count, total = 0, torch.zeros_like(self.mean_image, dtype=torch.float64)
        squares = torch.zeros_like(total)
        for part in in_parts(images):
            centred = part - 0.5  # less is lost in the difference of two sums
            count, total, squares = count + len(part), total + centred.sum(0), squares + centred.square().sum(0)
        mean = total / count
        self.mean_image.copy_(mean + 0.5)
        if self.sigma == "learned":
            variance = (squares / count - mean.square()).mean()
            if variance < ROUNDING:
                raise ValueError(
                    "the training images are all the same, and a learned sigma, which starts from their deviation, "
                    "would be 0; give sigma a number, or take other images"
                )
            self.log_var.copy_(variance.log())

    def seen(self, x: Tensor) -> Tensor:
        """Images less the mean training image, as in the code of Park et al. (2019)."""
        return x - self.mean_image

    def quadratic(self, output: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        variance = self.common_variance()
        assert variance is not None
        return (x - self.mean_image - output) / variance, 1 / variance

    def check_quadratic(self) -> None:
        if self.sigma == "per_pixel":
            super().check_quadratic()

    def common_variance(self) -> Tensor | None:
        if self.sigma == "per_pixel":
            return None
        if self.sigma == "learned":
            return self.log_var.exp()[0]
        assert not isinstance(self.sigma, str)
        return torch.full_like(self.mean_image.flatten()[0], self.sigma**2)

    def kind(self, pixels: Pixels) -> str:
        """A density of grey levels has no upper limit: it grows as it gathers around the 256 values."""
        return "bound" if pixels == "dequantised" else "density of grey levels"

    def forward(self, output: Tensor) -> Distribution:
        if self.sigma == "per_pixel":
            output, log_sigma = output.chunk(2, dim=-3)
            pixels = Normal(self.mean_image + output, log_sigma.exp(), validate_args=False)
            return Independent(pixels, self.axes, validate_args=False)
        scale = (0.5 * self.log_var).exp() if self.sigma == "learned" else self.mean_image.new_full((1,), self.sigma)
        return IsotropicGaussian(self.mean_image + output, scale, self.axes)


def in_parts(images: Tensor | Iterable[Tensor]) -> Iterator[Tensor]:
    """Images in [0, 1] as float64, some at a time: a whole data set as floats need not fit in memory."""
    for part in images.split(1024) if isinstance(images, Tensor) else images:
        yield part.double() / 255 if part.dtype == torch.uint8 else part.double()


class LogitImages(TransformedDistribution):
    """The density of images x in [0, 1] that follows from a density over y = logit(l + (1 - 2 l) x).

    log p(x) = log p(y) + sum over pixels of log(1 - 2 l) - log s - log(1 - s), s = l + (1 - 2 l) x; nats.

    Args:
        base: the density over y, event [C, H, W].
        margin: l, in (0, 1/2).
    """

    def __init__(self, base: Distribution, margin: float):
        stretch = AffineTransform(-margin / (1 - 2 * margin), 1 / (1 - 2 * margin))
        super().__init__(base, [SigmoidTransform(), stretch], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The image at the mean of y, which for a Gaussian is each pixel's median; y's tails leave [0, 1] a little."""
        y = self.base_dist.mean
        for transform in self.transforms:
            y = transform(y)
        return y.clamp(0, 1)


class LogitLikelihood(Likelihood):
    """A likelihood over the logits of images that were dequantised; log-densities are those of the images in [0, 1].

    Args:
        over_logits: the likelihood of y = logit(l + (1 - 2 l) x).
        margin: l.
        image_shape: [C, H, W].
    """

    def __init__(self, over_logits: Likelihood, margin: float, image_shape: Shape):
        super().__init__(image_shape)
        self.over_logits, self.margin = over_logits, margin
        self.parameters_per_pixel = over_logits.parameters_per_pixel

    def logits(self, x: Tensor) -> Tensor:
        """y, of images in [0, 1]."""
        return torch.logit(self.margin + (1 - 2 * self.margin) * x)

    def seen(self, x: Tensor) -> Tensor:
        return self.over_logits.seen(self.logits(x))

    def fit_statistics(self, images: Tensor | Iterable[Tensor]) -> None:
        self.over_logits.fit_statistics(self.logits(part) for part in in_parts(images))

    def quadratic(self, output: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.over_logits.quadratic(output, self.logits(x))

    def check_quadratic(self) -> None:
        self.over_logits.check_quadratic()

    def common_variance(self) -> Tensor | None:
        return self.over_logits.common_variance()

    def forward(self, output: Tensor) -> Distribution:
        return LogitImages(self.over_logits(output), self.margin)


class DiscretizedLogistic(Distribution):
    """A logistic density integrated over 256 bins.

    With open edges, Kingma et al. (2016): bins of width 1/255 around 0, 1/255, ..., 1, the outermost of which take the
    tails. With closed ones, the code of Tomczak & Welling (2018): bins of width 1/256 from 0, 1/256, ... on, of which
    none takes a tail, so that the masses add up to less than 1; each has 1e-7 more.

    The mass of a bin is taken as sigma(a) sigma(-b) (1 - exp(b - a)), which is the difference sigma(a) - sigma(b)
    without its cancellation.

    Args:
        loc: [...], in the pixels' units.
        log_scale: [...].
        edges: "open" or "closed".
    """

    arg_constraints = {"loc": constraints.real, "log_scale": constraints.real}  # noqa: RUF012
    support = constraints.unit_interval

    def __init__(self, loc: Tensor, log_scale: Tensor, *, edges: Edges = "open"):
        self.loc, self.log_scale = torch.broadcast_tensors(loc, log_scale)
        self.edges = edges
        super().__init__(self.loc.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The location, clamped to [0, 1]: the mean but for what the open edge bins fold back."""
        return self.loc.clamp(0, 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-mass of the bin that each value in [0, 1] is in, a multiple of 1/255 if the edges are open; nats."""
        inverse_scale = (-self.log_scale).exp()
        if self.edges == "closed":
            left = (value * 256).floor().clamp(max=255) / 256
            lower, upper = ((left + width - self.loc) * inverse_scale for width in (0, 1 / 256))
            return (_log_mass(lower, upper, inverse_scale / 256).exp() + 1e-7).log()
        upper = (value - self.loc + 0.5 / 255) * inverse_scale
        lower = (value - self.loc - 0.5 / 255) * inverse_scale
        inside = _log_mass(lower, upper, inverse_scale / 255)
        first, last = value < 0.5 / 255, value > 1 - 0.5 / 255
        return torch.where(first, logsigmoid(upper), torch.where(last, logsigmoid(-lower), inside))

    def sample(self, sample_shape: Size = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        logistic = torch.logit(torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device), eps=1e-6)
        drawn = self.loc + self.log_scale.exp() * logistic
        if self.edges == "closed":
            return (drawn * 256).floor().clamp(0, 255) / 256
        return (drawn * 255).round().clamp(0, 255) / 255


def _log_mass(lower: Tensor, upper: Tensor, width: Tensor) -> Tensor:
    """log(sigma(upper) - sigma(lower)), where upper - lower is the width."""
    return logsigmoid(upper) + logsigmoid(-lower) + torch.log(-torch.expm1(-width))


class LogisticLikelihood(Likelihood):
    """Discretised logistic pixels on 256 bins; the outputs are location (as log-odds) and log-scale.

    With open edges the log-scale is clamped to [-7, 0]; beyond those the mass sits in one bin, or everywhere. With
    closed ones both clamps are those of Tomczak & Welling's code: [-4.5, 0], and the location to [1/512, 1 - 1/512].

    Args:
        image_shape: [C, H, W].
        edges: of the bins, see `DiscretizedLogistic`.
    """

    parameters_per_pixel = 2

    def __init__(self, image_shape: Shape, edges: Edges = "open"):
        super().__init__(image_shape)
        self.edges = edges

    def forward(self, output: Tensor) -> Distribution:
        log_odds, log_scale = output.chunk(2, dim=-3)
        location = log_odds.sigmoid()
        if self.edges == "closed":
            location, log_scale = location.clamp(1 / 512, 1 - 1 / 512), log_scale.clamp(-4.5, 0)
        else:
            log_scale = log_scale.clamp(-7, 0)
        return Independent(DiscretizedLogistic(location, log_scale, edges=self.edges), self.axes, validate_args=False)


def likelihood_part(
    name: LikelihoodName, image_shape: Shape, sigma: Sigma, logit: float | None = None, edges: Edges = "open"
) -> Likelihood:
    """The likelihood of that name; `sigma` and `logit` are read by the Gaussian one only, `edges` by the logistic one.

    Raises:
        ValueError: `logit` or closed edges are given with another one.
    """
    if logit is not None and name != "gaussian":
        raise ValueError(f"logit: only the gaussian likelihood may be one of logits, this one is {name}")
    if edges != "open" and name != "logistic":
        raise ValueError(f"edges: only the logistic likelihood has bins with edges, this one is {name}")
    if name == "gaussian":
        gaussian = GaussianLikelihood(image_shape, sigma)
        return gaussian if logit is None else LogitLikelihood(gaussian, logit, image_shape)
    return BernoulliLikelihood(image_shape) if name == "bernoulli" else LogisticLikelihood(image_shape, edges)
