"""What people's scripts give a model, made into what it takes, or refused in a line that says what was found.

Training and evaluation hand their own images to `posterior`, `elbo`, `look` and `log_weights`, which take them as they
are: to look at every value is for scripts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from models import ModelError

if TYPE_CHECKING:
    from models.base import VAE

Given = Tensor | ArrayLike
"""A tensor, or what numpy makes an array of."""

MOST = 10**6
"""Images that are drawn at once."""
ARRAYS = (np.uint8, np.float16, np.float32, np.float64)


def images_from(given: Given, model: VAE) -> Tensor:
    """Images as the model takes them: floats in [0, 1] of its type, on its device, wherever they were.

    Args:
        given: [B, *image_shape]: bytes, which are divided by 255, or floats in [0, 1].
        model: that is to see them.

    Raises:
        ModelError: another shape, as without the batch's axis; another type; or values that are NaN or not in [0, 1].
    """
    if not isinstance(given, Tensor):
        array = np.asarray(given)
        if array.dtype not in ARRAYS:
            raise ModelError(f"images must be uint8, or floats in [0, 1], got {array.dtype}")
        given = _tensor(array)
    if given.dtype != torch.uint8 and not given.is_floating_point():
        raise ModelError(f"images must be uint8, or floats in [0, 1], got {given.dtype}")
    expected, found = [*model.image_shape], [*given.shape]
    if found[1:] != expected:
        raise ModelError(f"the model was built for batches of images {expected}, got {found}{_remedy(found, expected)}")
    if given.dtype != torch.uint8 and given.numel():
        low, high = given.detach().aminmax()
        if not (low >= 0) & (high <= 1):  # nor of NaN
            if nan := int(given.isnan().sum()):
                raise ModelError(f"images must lie in [0, 1], but {nan} of {given.numel()} values are NaN")
            raise ModelError(
                f"images must lie in [0, 1], got floats from {low:.8g} to {high:.8g}; bytes are taken as uint8"
            )
    like = next(model.parameters())
    x = given.to(like.device, like.dtype)
    return x / 255 if given.dtype == torch.uint8 else x


def pairs_from(first: Given, second: Given, model: VAE) -> Tensor:
    """The images of two streams as the pairs that a model takes, see `images_from`.

    Raises:
        ModelError: they are not as many, not of the model's shape, or none that `images_from` takes.
    """
    streams = [given if isinstance(given, Tensor) else _tensor(given) for given in (first, second)]
    expected, found = [*model.image_shape[1:]], [[*images.shape] for images in streams]
    if found[0] != found[1] or found[0][1:] != expected:
        raise ModelError(
            f"each stream takes a batch of images {expected}, as many as the other, got {found[0]} and {found[1]}"
        )
    return images_from(torch.stack(streams, 1), model)


def codes_from(given: Given, model: VAE) -> Tensor:
    """Codes [..., Z] of the model's type, on its device.

    Raises:
        ModelError: their last axis is not as long as the model's codes are.
    """
    z = given if isinstance(given, Tensor) else _tensor(given)
    latent = model.prior().event_shape[0]
    if z.ndim == 0 or z.shape[-1] != latent:
        raise ModelError(f"the model's codes are [..., {latent}], got {[*z.shape]}")
    like = next(model.parameters())
    return z.to(like.device, like.dtype)


def _tensor(given: ArrayLike) -> Tensor:
    """A copy: torch shares no memory with an array that is read-only, as those of data sets are, or goes backwards."""
    return torch.from_numpy(np.array(given, order="C"))


def _remedy(found: list[int], expected: list[int]) -> str:
    if found == expected:
        return "; give one image as x[None]"
    if expected[0] == 1 and found == expected[1:]:
        return "; give one image as x[None, None]"
    if expected[0] == 1 and found[1:] == expected[1:]:
        return "; give images without a channel's axis as x[:, None]"
    return ""


def check_count(n: int) -> None:
    """Raises ModelError where n is no number of images that could be drawn."""
    if not isinstance(n, int | np.integer) or isinstance(n, bool) or not 0 <= n <= MOST:
        raise ModelError(f"images are drawn by a whole number from 0 to {MOST}, got {n!r}")
