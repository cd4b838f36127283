"""The Variational Laplace Autoencoder, Park, Kim & Kim (ICML 2019).

The posterior is the Laplace approximation of p(z|x) at a mode that Newton's iteration looks for, starting where the
encoder points. With a decoder of ReLUs its output a(z) is piecewise linear, with the Jacobian J(z) = da/dz:

    Lambda(mu) = J^T R J + I,   mu_{t+1} = mu_t + alpha_t Lambda(mu_t)^-1 (J^T v - mu_t),   t = 0 .. T - 1
    q(z|x) = N(mu_T, Lambda(mu_T)^-1)

v and R are the likelihood's score and Fisher information with respect to a: (x - a) / sigma^2 and 1 / sigma^2 for a
Gaussian, x - pi and pi (1 - pi) for Bernoulli pixels. There is no variance head. Everything is differentiated, the
search too. Formulae and defects of the authors' code: yookoon/VLAE, release of June 2019.

Departures: the iteration is written as a step from mu_t, which is algebraically theirs; one Cholesky factor of Lambda
serves the step, the draw and the density, where they invert Lambda and factorise the inverse; a step's gradient is that
of the system it solves, which is the same and takes no Jacobian.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, conv_transpose2d, linear

from models.base import VAE, Shared, assemble, merged
from models.distributions import PrecisionGaussian, lower_factor
from models.domains import Count, Positive, Shape, Whole
from models.gaussian import StandardPrior
from models.memory import at_once
from models.parts import PosteriorPart
from models.schedules import Step

Damping = Literal["harmonic", "geometric", "constant"]

DAMPINGS: dict[str, Callable[[int], float]] = {
    "harmonic": lambda t: 1 / (t + 1),  # the final release
    "geometric": lambda t: 0.9**t,  # the first release, with a rate of 1
    "constant": lambda t: 1.0,
}


class LaplacePosterior(PosteriorPart):
    """q(z|x) = N(mu_T, Lambda(mu_T)^-1).

    Args:
        features: of the encoder.
        latent: Z.
        updates: T, steps of the search for the mode; 0 is the Laplace approximation where the encoder points.
        update_rate: alpha_0.
        damping: alpha_t is that rate times 1 / (t + 1), 0.9^t or 1.
    """

    name = "laplace"
    uses_prior = True

    def __init__(
        self,
        features: int,
        latent: int,
        *,
        updates: Whole = 4,
        update_rate: Positive = 0.5,
        damping: Damping = "harmonic",
    ):
        super().__init__()
        self.mu = nn.Linear(features, latent)
        self.rates = [update_rate * DAMPINGS[damping](t) for t in range(updates)]

    def forward(self, model: VAE, x: Tensor, step: Step | None = None) -> PrecisionGaussian:
        return self.search(model, x)[-1]

    @classmethod
    def draw(cls, trial: Any) -> dict[str, Any]:
        return {
            "updates": trial.suggest_int("updates", 1, 4, log=True),
            "update_rate": trial.suggest_float("update_rate", 0.3, 1.0),
        }

    def check(self, model: VAE) -> None:
        """Raises ValueError where the likelihood has no quadratic model, or no Jacobian is known of the decoder."""
        model.likelihood_part.check_quadratic()
        for layer in model.decoder.children():
            if not isinstance(layer, LINEARISED):
                known = ", ".join(kind.__name__ for kind in LINEARISED)
                raise ValueError(
                    f"a Laplace posterior needs the decoder's Jacobian, and none is known of the layer "
                    f"{type(layer).__name__}; known are {known}"
                )

    def search(self, model: VAE, x: Tensor) -> list[PrecisionGaussian]:
        """The Laplace approximations at mu_0 .. mu_T; of the factors, the last alone has a gradient."""
        layers = list(model.decoder.children())
        precision = precision_around(model, x, uses=len(self.rates) + 1)
        mu = self.mu(model.features(x))
        found = []
        for rate in self.rates:
            outputs = activations(layers, mu)
            with torch.no_grad():
                factor = cholesky(precision(mu, outputs))
                score, _ = model.likelihood_part.quadratic(outputs[-1], x)
                newton = solved(factor, pulled(layers, outputs, score) - mu)
            found.append(PrecisionGaussian(mu, factor))
            if torch.is_grad_enabled():
                newton = differentiable(model, x, mu, outputs, newton, factor)
            mu = mu + rate * newton
        return [*found, PrecisionGaussian(mu, cholesky(precision(mu, activations(layers, mu))))]


def differentiable(
    model: VAE, x: Tensor, mu: Tensor, outputs: Sequence[Tensor], newton: Tensor, factor: Tensor
) -> Tensor:
    """Newton's step n = Lambda^-1 (J^T v - mu): the same numbers, with their gradient.

    It is that of the system: dn = Lambda^-1 (d(J^T v - mu) - (d Lambda) n). Lambda n = J^T R (J n) + n needs the
    Jacobian along n only, where a gradient through Lambda would need it along all Z coordinates. Second derivatives are
    not those of n.

    Args:
        model: whose decoder and likelihood.
        x: images, [B, C, H, W].
        mu: where the step starts, [B, Z].
        outputs: of the decoder's layers there.
        newton: n, [B, Z], without a gradient.
        factor: of Lambda, [B, Z, Z], without a gradient.
    """
    layers = list(model.decoder.children())
    score, information = model.likelihood_part.quadratic(outputs[-1], x)
    along = pushed(layers, outputs, newton[:, None])[:, 0]
    moved = solved(factor, pulled(layers, outputs, score - information * along) - mu)
    return newton + (moved - moved.detach())


def solved(factor: Tensor, right: Tensor) -> Tensor:
    """Lambda^-1 r, [B, Z], given the lower factor of Lambda, [B, Z, Z]."""
    return torch.cholesky_solve(right[..., None], factor)[..., 0]


LINEARISED = (nn.Linear, nn.ReLU, nn.Unflatten, nn.ConvTranspose2d)
"""The layers whose Jacobian is known."""


Precision = Callable[[Tensor, Sequence[Tensor]], Tensor]


def precision_around(model: VAE, x: Tensor, uses: int) -> Precision:
    """Lambda, [B, Z, Z], as a function of codes, [B, Z], and the outputs of the decoder's layers there.

    Where all pixels have one sigma and the decoder ends in a linear layer W, J is W A, and J^T J = A^T (W^T W) A costs
    nothing that grows with the number of pixels; the cheaper of the two ways is taken.

    Without a gradient it is found for some images at a time, see `models.memory`; not so in a training on a GPU, where
    more and smaller kernels would take longer, and the last of the codes, which has a gradient, needs the memory.

    Args:
        model: whose decoder and likelihood.
        x: images, [B, C, H, W].
        uses: at how many codes it will be asked for.
    """
    *body, last, shape = list(model.decoder.children())
    sigma2, latent = model.likelihood_part.common_variance(), model.prior().event_shape[0]
    in_pieces = x.device.type == "cpu" or not torch.is_grad_enabled()

    def of_some(of: Callable[..., Tensor], numbers: int) -> Precision:
        def precision(mu: Tensor, outputs: Sequence[Tensor]) -> Tensor:
            size = at_once(len(x), numbers) if in_pieces and not torch.is_grad_enabled() else len(x)
            parts = [of(some, at, seen) for some, at, *seen in zip(*(t.split(size) for t in (x, mu, *outputs)))]
            return parts[0] if len(parts) == 1 else torch.cat(parts)

        return precision

    by_jacobian = of_some(lambda x, mu, outputs: _by_jacobian(model, x, mu, outputs), latent * x[0].numel())
    if sigma2 is None or not isinstance(last, nn.Linear) or not isinstance(shape, nn.Unflatten):
        return by_jacobian
    if not gram_is_cheaper(last, len(x), latent, uses):
        return by_jacobian
    weight = last.weight
    with torch.no_grad():
        gram = symmetric(weight, weight)  # [h, h]

    def by_gram(x: Tensor, mu: Tensor, outputs: Sequence[Tensor]) -> Tensor:
        return _plus_identity(squared(jacobian(body, mu, outputs), weight, gram) / sigma2)

    return of_some(by_gram, latent * len(gram))


def gram_is_cheaper(last: nn.Linear, batch: int, latent: int, uses: int) -> bool:
    """Whether W^T W, made once for all uses, saves work: s D h^2 / uses + B Z h (s h + Z) < B Z D (h + Z).

    s is the share of a symmetric matrix that is computed, see `blocks`.
    """
    pixels, h = last.out_features, last.in_features
    share = sum(stop * (stop - start) for start, stop in blocks(h)) / h**2
    by_gram = share * pixels * h**2 / uses + batch * latent * h * (share * h + latent)
    return by_gram < batch * latent * pixels * (h + latent)


def blocks(h: int) -> list[tuple[int, int]]:
    """Four ranges of columns of a symmetric matrix [h, h], each of which is new down to its block on the diagonal only.

    That is five eighths of the matrix.
    """
    return list(pairwise(h * i // 4 for i in range(5)))


def symmetric(a: Tensor, b: Tensor) -> Tensor:
    """a^T b, [h, h], of matrices [N, h] with which it is symmetric; it has no gradient."""
    product = a.new_empty(a.shape[1], a.shape[1])
    for start, stop in blocks(len(product)):
        product[:stop, start:stop] = a[:, :stop].T @ b[:, start:stop]
    return product.triu() + product.triu(1).T


def squared(a_BZH: Tensor, weight: Tensor, gram: Tensor) -> Tensor:
    """A W^T W A^T, [B, Z, Z], given the product W^T W."""
    if torch.is_grad_enabled():
        product: Tensor
        product, _ = Squared.apply(a_BZH, weight, gram)
        return product
    parts = []
    for start, stop in blocks(len(gram)):  # whose sum and its transpose add up to the whole
        column = gram[:stop, start:stop].clone()
        column[start:] /= 2
        parts.append((a_BZH[..., :stop] @ column) @ a_BZH[..., start:stop].mT)
    half = torch.stack(parts).sum(0)
    return half + half.mT


class Squared(torch.autograd.Function):
    """A W^T W A^T and A W^T W, of which the first has a gradient, for which the second is not made again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a_BZH: Tensor, weight: Tensor, gram: Tensor) -> tuple[Tensor, Tensor]:
        projected = a_BZH @ gram
        return projected @ a_BZH.mT, projected

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
        (a_BZH, weight, _), (_, projected) = inputs, output
        ctx.mark_non_differentiable(projected)
        ctx.save_for_backward(a_BZH, weight, projected)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
        a_BZH, weight, projected = ctx.saved_tensors
        both = gradient + gradient.mT
        of_gram = symmetric(a_BZH.flatten(0, 1), (both @ a_BZH).flatten(0, 1))
        return both @ projected, weight @ of_gram, None


def _by_jacobian(model: VAE, x: Tensor, mu: Tensor, outputs: Sequence[Tensor]) -> Tensor:
    _, information = model.likelihood_part.quadratic(outputs[-1], x)
    j_BZD = jacobian(list(model.decoder.children()), mu, outputs).flatten(2)
    weighted = j_BZD * information.flatten(1)[:, None] if information.ndim else j_BZD * information
    return _plus_identity(weighted @ j_BZD.mT)


def _plus_identity(matrix: Tensor) -> Tensor:
    return matrix + torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


def jacobian(layers: Sequence[nn.Module], z: Tensor, outputs: Sequence[Tensor]) -> Tensor:
    """A network's Jacobian, propagated from the latent side; ReLU masks are constants for autograd.

    Args:
        layers: linear ones, ReLUs, transposed convolutions and changes of shape.
        z: codes, [B, Z].
        outputs: of the layers there, or of more of them, see `activations`.

    Returns:
        The derivative of the last layer's output with respect to each coordinate of z, [B, Z, ...].
    """
    if [type(layer) for layer in layers[:3]] == [nn.Linear, nn.ReLU, nn.Linear]:
        start: Tensor = TwoLayers.apply(layers[0].weight, (outputs[1] > 0).to(z.dtype), layers[2].weight)
        found = pushed(layers[3:], outputs[3:], start)
    else:
        found = pushed(layers, outputs, torch.eye(z.shape[1], dtype=z.dtype, device=z.device)[None])
    return found.expand(len(z), *found.shape[1:])


class TwoLayers(torch.autograd.Function):
    """The Jacobian of linear layers V [k, Z] and W [l, k] and a ReLU between them with the mask [B, k]: [B, Z, l].

    Backwards, with M of that shape, the gradients of both weights are sums of mask^T M, [k, Z, l], which is one product
    where autograd would make two of the size. It is made for some coordinates at a time, see `models.memory`.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(v: Tensor, mask: Tensor, w: Tensor) -> Tensor:
        return linear(v.T.contiguous() * mask[:, None], w)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor]:
        v, mask, w = ctx.saved_tensors
        size, w_kl = at_once(v.shape[1], w.numel()), w.T.contiguous()
        of_v, of_w = [], torch.zeros_like(w_kl)
        for v_Zk, m_BZl in zip(v.T.split(size), gradient.split(size, 1)):
            product = mask.T @ m_BZl.transpose(0, 1)  # [Z, k, l]
            of_v.append(torch.linalg.vecdot(product, w_kl))
            of_w += (product * v_Zk[..., None]).sum(0)
        return torch.cat(of_v).T, None, of_w.T


def activations(layers: Iterable[nn.Module], z: Tensor) -> list[Tensor]:
    """The outputs of a network's layers, the last of which is its own; [B, ...] each."""
    outputs = []
    for layer in layers:
        z = layer(z)
        outputs.append(z)
    return outputs


def pushed(layers: Sequence[nn.Module], outputs: Sequence[Tensor], directions: Tensor) -> Tensor:
    """J d: the derivative of a network's output along directions [B, K, Z], or [1, K, Z] for all images; [B, K, ...].

    Where no ReLU is passed, those for all stay those for all, [1, K, ...].
    """
    tangent = directions
    for layer, h in zip(layers, outputs):
        if isinstance(layer, nn.Linear):
            tangent = linear(tangent, layer.weight)
        elif isinstance(layer, nn.ReLU):
            tangent = tangent * (h > 0)[:, None]
        elif isinstance(layer, nn.Unflatten):
            tangent = tangent.unflatten(2, layer.unflattened_size)
        elif isinstance(layer, nn.ConvTranspose2d):
            moved = conv_transpose2d(
                tangent.flatten(0, 1),
                layer.weight,
                stride=layer.stride,
                padding=layer.padding,  # type: ignore[arg-type]  # never a string here
                output_padding=layer.output_padding,
            )
            tangent = moved.unflatten(0, tangent.shape[:2])
        else:
            raise TypeError(f"no Jacobian is known of the layer {type(layer).__name__}")
    return tangent


def pulled(layers: Sequence[nn.Module], outputs: Sequence[Tensor], cotangent: Tensor) -> Tensor:
    """J^T c, [B, Z], for one c of the output's shape, [B, ...], an image."""
    for layer, h in zip(reversed(layers), reversed(outputs)):
        if isinstance(layer, nn.Linear):
            cotangent = cotangent @ layer.weight
        elif isinstance(layer, nn.ReLU):
            cotangent = cotangent * (h > 0)
        elif isinstance(layer, nn.Unflatten):
            cotangent = cotangent.flatten(1)
        elif isinstance(layer, nn.ConvTranspose2d):
            cotangent = conv2d(cotangent, layer.weight, stride=layer.stride, padding=layer.padding)
        else:
            raise TypeError(f"no Jacobian is known of the layer {type(layer).__name__}")
    return cotangent


def cholesky(precision: Tensor) -> Tensor:
    """The lower factor of Lambda + jitter, whose jitter is what rounding may take from Lambda's smallest eigenvalue, 1.

    q is the Gaussian with this factor, so that a jitter loosens the bound a little and leaves it a bound. A matrix
    that fails all the same gives NaN, never a number.
    """
    size = precision.shape[-1]
    jitter = size * torch.finfo(precision.dtype).eps * precision.diagonal(dim1=-2, dim2=-1).mean(-1)
    identity = torch.eye(size, dtype=precision.dtype, device=precision.device)
    return lower_factor(precision + jitter.detach()[..., None, None] * identity)


PAPER: Shared = {"hidden": (500, 500), "likelihood": "gaussian", "init": "vlae"}
"""Of the settings that all models share, those that Park et al. (2019) have their own values of."""


def build(
    image_shape: Shape,
    *,
    latent: Count = 50,
    updates: Whole = 4,
    update_rate: Positive = 0.5,
    damping: Damping = "harmonic",
    **shared: Unpack[Shared],
) -> VAE:
    """A variational Laplace autoencoder for images of that shape.

    Args:
        image_shape: [C, H, W].
        latent: size of the code, Z.
        updates, update_rate, damping: see `LaplacePosterior`.
        **shared: see `models.base.Shared`; of the likelihoods, those with a quadratic model.

    Raises:
        ValueError: the likelihood has no quadratic model, or the decoder a layer of which no Jacobian is known.
    """
    return assemble(
        image_shape,
        latent=latent,
        posterior=lambda features: LaplacePosterior(
            features, latent, updates=updates, update_rate=update_rate, damping=damping
        ),
        prior=StandardPrior(latent),
        **merged(PAPER, shared),
    )
