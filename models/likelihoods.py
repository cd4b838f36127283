"""p(x|z): what a decoder's output means.

A likelihood is a small module that turns the decoder's output, [..., P * C, H, W] with P = `parameters_per_pixel`,
into a torch Distribution over images with the event [C, H, W]. Log-densities are sums over the event, in nats, with
their constants.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, Normal, constraints
from torch.nn.functional import logsigmoid

from models.distributions import Size
from models.domains import LikelihoodName, Shape, Sigma


class Likelihood(nn.Module):
    """Base: the decoder's output, [..., P * C, H, W], to a distribution over images."""

    parameters_per_pixel = 1

    def forward(self, output: Tensor) -> Distribution:
        raise NotImplementedError

    def fit_statistics(self, images: Tensor) -> None:
        """Takes what the likelihood needs of the training images, see `VAE.fit_statistics`. Here: nothing."""

    def kind(self, binary: bool) -> str:
        """What an ELBO under this likelihood is: `bound` on a log-likelihood, or `soft cross-entropy`.

        Args:
            binary: whether every pixel of the data is 0 or 1.
        """
        return "bound"


class BernoulliLikelihood(Likelihood):
    """Independent Bernoulli pixels, the output being their log-odds.

    Grey targets are allowed, and then the value is a cross-entropy, not the log-likelihood of anything.
    """

    def forward(self, output: Tensor) -> Distribution:
        return Independent(Bernoulli(logits=output, validate_args=False), 3, validate_args=False)

    def kind(self, binary: bool) -> str:
        return "bound" if binary else "soft cross-entropy"


class GaussianLikelihood(Likelihood):
    """Independent Gaussian pixels; the output, plus the mean training image, is the mean.

    Args:
        image_shape: [C, H, W].
        sigma: the standard deviation: a number; "learned", one scalar whose start is the training images' own
            deviation from their mean; or "per_pixel", a second output of the decoder, its log.
    """

    def __init__(self, image_shape: Shape, sigma: Sigma):
        super().__init__()
        self.mean_image: Tensor
        self.sigma = sigma
        self.parameters_per_pixel = 2 if sigma == "per_pixel" else 1
        self.register_buffer("mean_image", torch.zeros(image_shape))
        if sigma == "learned":
            self.log_var = nn.Parameter(torch.zeros(1))

    @torch.no_grad()
    def fit_statistics(self, images: Tensor) -> None:
        parts = images.split(1024)  # a whole data set as floats need not fit in memory
        mean = torch.stack([_unit_interval(part).sum(0) for part in parts]).sum(0) / len(images)
        self.mean_image.copy_(mean)
        if self.sigma == "learned":
            squares = torch.stack([((_unit_interval(part) - mean) ** 2).sum() for part in parts]).sum()
            self.log_var.fill_((squares / images.numel()).log())

    def forward(self, output: Tensor) -> Distribution:
        if self.sigma == "per_pixel":
            output, log_sigma = output.chunk(2, dim=-3)
            scale = log_sigma.exp()
        elif self.sigma == "learned":
            scale = (0.5 * self.log_var).exp()
        else:
            scale = torch.full_like(self.mean_image, self.sigma)
        return Independent(Normal(self.mean_image + output, scale, validate_args=False), 3, validate_args=False)


def _unit_interval(images: Tensor) -> Tensor:
    return images.double() / 255 if images.dtype == torch.uint8 else images.double()


class DiscretizedLogistic(Distribution):
    """A logistic density integrated over 256 bins of width 1/255 around 0, 1/255, ..., 1; the edge bins are open.

    Kingma et al. (2016), with the mass of a bin taken as sigma(a) sigma(-b) (1 - exp(b - a)), which is the difference
    sigma(a) - sigma(b) without its cancellation.

    Args:
        loc: [...], in the pixels' units.
        log_scale: [...].
    """

    arg_constraints = {"loc": constraints.real, "log_scale": constraints.real}  # noqa: RUF012
    support = constraints.unit_interval

    def __init__(self, loc: Tensor, log_scale: Tensor):
        self.loc, self.log_scale = torch.broadcast_tensors(loc, log_scale)
        super().__init__(self.loc.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The location, clamped to [0, 1]: the mean but for what the open edge bins fold back."""
        return self.loc.clamp(0, 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-mass of the bin around each value, which is a multiple of 1/255; nats."""
        inverse_scale = (-self.log_scale).exp()
        upper = (value - self.loc + 0.5 / 255) * inverse_scale
        lower = (value - self.loc - 0.5 / 255) * inverse_scale
        below, above = logsigmoid(upper), logsigmoid(-lower)
        inside = below + above + torch.log(-torch.expm1(-inverse_scale / 255))
        return torch.where(value < 0.5 / 255, below, torch.where(value > 1 - 0.5 / 255, above, inside))

    def sample(self, sample_shape: Size = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        logistic = torch.logit(torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device), eps=1e-6)
        return ((self.loc + self.log_scale.exp() * logistic) * 255).round().clamp(0, 255) / 255


class LogisticLikelihood(Likelihood):
    """Discretised logistic pixels on 256 bins; the outputs are location (as log-odds) and log-scale.

    The log-scale is clamped to [-7, 0]; beyond those the mass sits in one bin, or everywhere.
    """

    parameters_per_pixel = 2

    def forward(self, output: Tensor) -> Distribution:
        location, log_scale = output.chunk(2, dim=-3)
        return Independent(DiscretizedLogistic(location.sigmoid(), log_scale.clamp(-7, 0)), 3, validate_args=False)


def likelihood_part(name: LikelihoodName, image_shape: Shape, sigma: Sigma) -> Likelihood:
    """The likelihood of that name; `sigma` is read by the Gaussian one only."""
    if name == "bernoulli":
        return BernoulliLikelihood()
    if name == "gaussian":
        return GaussianLikelihood(image_shape, sigma)
    return LogisticLikelihood()
