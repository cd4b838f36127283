"""Encoders, x [B, C, H, W] to features [B, F], and decoders, z [B, Z] to the likelihood's parameters [B, P * C, H, W].

The convolutional pair is that of the Variational Sparse Coding replication (Alfo5123, 2019): convolutions of kernel 4,
stride 2, until the shorter side is at most 4 pixels, then fully connected layers; the decoder mirrors it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from models.domains import Init, Network, Shape, Widths, widths

CHANNELS = (32, 32, 64, 64)  # of four stages, 64x64 images; fewer stages take the last ones


class Encoder(nn.Sequential):
    """Layers that end in `features` numbers an image."""

    def __init__(self, *layers: nn.Module, features: int):
        super().__init__(*layers)
        self.features = features


def dense(sizes: Sequence[int]) -> list[nn.Module]:
    """Linear layers from size to size, a ReLU after each."""
    return [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]


def encoder_decoder(
    network: Network, image_shape: Shape, latent: int, hidden: Widths, decoder_hidden: Widths | None, channels: int
) -> tuple[Encoder, nn.Sequential]:
    """The two networks of a VAE.

    Args:
        network: "mlp" or "conv".
        image_shape: [C, H, W].
        latent: the decoder's input size, Z.
        hidden: widths of the encoder's fully connected layers, input side first.
        decoder_hidden: those of the decoder, code side first; None mirrors the encoder.
        channels: of the decoder's output, P * C.

    Raises:
        ValueError: the images are too small for convolutions.
    """
    hidden = widths(hidden)
    decoder_hidden = hidden[::-1] if decoder_hidden is None else widths(decoder_hidden)
    if network == "conv":
        return _conv(image_shape, latent, hidden, decoder_hidden, channels)
    _, height, width = image_shape
    pixels = math.prod(image_shape)
    encoder = Encoder(nn.Flatten(), *dense([pixels, *hidden]), features=(pixels, *hidden)[-1])
    last = (latent, *decoder_hidden)[-1]
    decoder = nn.Sequential(
        *dense([latent, *decoder_hidden]),
        nn.Linear(last, channels * height * width),
        nn.Unflatten(1, (channels, height, width)),
    )
    return encoder, decoder


def _conv(
    image_shape: Shape, latent: int, hidden: tuple[int, ...], decoder_hidden: tuple[int, ...], channels: int
) -> tuple[Encoder, nn.Sequential]:
    sizes = [image_shape[1:]]
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
    encoder = Encoder(*down, nn.Flatten(), *dense([flat, *hidden]), features=(flat, *hidden)[-1])

    up: list[nn.Module] = []
    backwards = list(zip(pairwise((*maps[::-1], channels)), pairwise(sizes[::-1])))
    for (a, b), (small, large) in backwards:
        odd = (large[0] - 2 * small[0], large[1] - 2 * small[1])  # the row or column that halving dropped
        up += [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1, output_padding=odd), nn.ReLU()]
    decoder = nn.Sequential(*dense([latent, *decoder_hidden, flat]), nn.Unflatten(1, (maps[-1], *sizes[-1])), *up[:-1])
    return encoder, decoder


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
