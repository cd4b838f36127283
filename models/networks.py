"""Encoders, x [B, C, H, W] to features [B, F], and decoders, z [B, Z] to the likelihood's parameters [B, P * C, H, W].

The convolutional pair is that of the Variational Sparse Coding replication (Alfo5123, 2019): convolutions of kernel 4,
stride 2, until the shorter side is at most 4 pixels, then fully connected layers; the decoder mirrors it.

At 64x64 pixels that is also what the code of Barrientos & Sootla (2018) reads from the table of Kim & Mnih (2018), with
128 units for dSprites and 256 for CelebA: `dsprites` and `celeba`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn

from models.domains import Init, Network, Shape, Widths, widths

CHANNELS = (32, 32, 64, 64)  # of four stages, 64x64 images; fewer stages take the last ones


class Encoder(nn.Sequential):
    """Layers that end in `features` numbers an image."""

    def __init__(self, *layers: nn.Module, features: int):
        super().__init__(*layers)
        self.features = features


Networks = Callable[[Shape, int, int], tuple[Encoder, nn.Sequential]]
"""A paper's own networks: a function of (image_shape, latent, channels of the decoder's output)."""


def dense(sizes: Sequence[int]) -> list[nn.Module]:
    """Linear layers from size to size, a ReLU after each."""
    return [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]


def mlp(
    image_shape: Shape, latent: int, channels: int, hidden: Widths, decoder_hidden: Widths | None
) -> tuple[Encoder, nn.Sequential]:
    """Fully connected layers with ReLUs.

    Args:
        image_shape: [C, H, W].
        latent: the decoder's input size, Z.
        channels: of the decoder's output, P * C.
        hidden: widths of the encoder's fully connected layers, input side first.
        decoder_hidden: those of the decoder, code side first; None mirrors the encoder.
    """
    _check_single(image_shape)
    encoder_widths, decoder_widths = _both(hidden, decoder_hidden)
    _, height, width = image_shape
    pixels = math.prod(image_shape)
    encoder = Encoder(nn.Flatten(), *dense([pixels, *encoder_widths]), features=(pixels, *encoder_widths)[-1])
    last = (latent, *decoder_widths)[-1]
    decoder = nn.Sequential(
        *dense([latent, *decoder_widths]),
        nn.Linear(last, channels * height * width),
        nn.Unflatten(1, (channels, height, width)),
    )
    return encoder, decoder


def conv(
    image_shape: Shape, latent: int, channels: int, hidden: Widths, decoder_hidden: Widths | None
) -> tuple[Encoder, nn.Sequential]:
    """Convolutions, then fully connected layers; arguments as for `mlp`.

    Raises:
        ValueError: the images are too small for convolutions.
    """
    _check_single(image_shape)
    encoder_widths, decoder_widths = _both(hidden, decoder_hidden)
    sizes = [(image_shape[1], image_shape[2])]
    while min(sizes[-1]) > 4:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    stages = len(sizes) - 1
    if stages == 0:
        raise ValueError(f"network 'conv' needs images of at least 5x5 pixels, got {image_shape[1]}x{image_shape[2]}")
    maps = (CHANNELS[:1] * max(0, stages - len(CHANNELS)) + CHANNELS)[-stages:]
    down: list[nn.Module] = []
    for a, b in pairwise((image_shape[0], *maps)):
        down += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.ReLU()]
    flat = maps[-1] * math.prod(sizes[-1])
    encoder = Encoder(*down, nn.Flatten(), *dense([flat, *encoder_widths]), features=(flat, *encoder_widths)[-1])

    up: list[nn.Module] = []
    backwards = list(zip(pairwise((*maps[::-1], channels)), pairwise(sizes[::-1])))
    for (a, b), (small, large) in backwards:
        odd = (large[0] - 2 * small[0], large[1] - 2 * small[1])  # the row or column that halving dropped
        up += [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1, output_padding=odd), nn.ReLU()]
    decoder = nn.Sequential(*dense([latent, *decoder_widths, flat]), nn.Unflatten(1, (maps[-1], *sizes[-1])), *up[:-1])
    return encoder, decoder


def _check_single(image_shape: Shape) -> None:
    if len(image_shape) != 3:
        raise ValueError(f"takes single images, [C, H, W], got {list(image_shape)}, which are those of pairs")


def _both(hidden: Widths, decoder_hidden: Widths | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The encoder's widths and the decoder's."""
    of_encoder = widths(hidden)
    return of_encoder, of_encoder[::-1] if decoder_hidden is None else widths(decoder_hidden)


def dsprites(
    image_shape: Shape, latent: int, channels: int, hidden: Widths, decoder_hidden: Widths | None
) -> tuple[Encoder, nn.Sequential]:
    """The networks of Barrientos & Sootla (2018) for dSprites: no ReLU follows the encoder's 128 units.

    Their code has it commented out. Arguments as for `mlp`; the widths are the table's, whatever is given.

    Raises:
        ValueError: the images are not 64x64.
    """
    encoder, decoder = _of_the_table("dsprites", image_shape, latent, channels, width=128)
    del encoder[-1]
    return encoder, decoder


def celeba(
    image_shape: Shape, latent: int, channels: int, hidden: Widths, decoder_hidden: Widths | None
) -> tuple[Encoder, nn.Sequential]:
    """The networks of Barrientos & Sootla (2018) for CelebA, of 256 units; see `dsprites`."""
    return _of_the_table("celeba", image_shape, latent, channels, width=256)


def _of_the_table(
    name: str, image_shape: Shape, latent: int, channels: int, width: int
) -> tuple[Encoder, nn.Sequential]:
    _check_single(image_shape)
    rows, columns = image_shape[1:]
    if (rows, columns) != (64, 64):
        raise ValueError(f"network {name!r} is for images of 64x64 pixels, got {rows}x{columns}; 'conv' takes others")
    return conv(image_shape, latent, channels, width, None)


NETWORKS: dict[Network, Callable[..., tuple[Encoder, nn.Sequential]]] = {
    "mlp": mlp,
    "conv": conv,
    "dsprites": dsprites,
    "celeba": celeba,
}
"""The networks that all models take by name: functions of (image_shape, latent, channels, hidden, decoder_hidden)."""


def initialise(model: nn.Module, init: Init) -> None:
    """Draws the weights of all linear and convolutional layers anew.

    Args:
        model: whose layers.
        init: "torch" leaves PyTorch's own; "vlae" is Park, Kim & Kim (2019): linear weights Kaiming uniform, fan-out,
            slope 2^(1/3), biases and convolutions as they are; "glorot" is Keras's: weights Glorot uniform, biases 0.
    """
    for layer in model.modules():
        if init == "vlae" and isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, a=2 ** (1 / 3), mode="fan_out")
        elif init == "glorot" and isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
