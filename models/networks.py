"""Encoders, x [B, C, H, W] to features [B, F], and decoders, z [B, Z] to the likelihood's parameters [B, P * C, H, W].

The convolutional pair is that of the Variational Sparse Coding replication (Alfo5123, 2019): convolutions of kernel 4,
stride 2, until the shorter side is at most 4 pixels, then fully connected layers; the decoder mirrors it.

At 64x64 pixels that is also what the code of Barrientos & Sootla (2018) reads from the table of Kim & Mnih (2018), with
128 units for dSprites and 256 for CelebA: `dsprites` and `celeba`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn

from models.domains import Activation, Init, Network, Positive, Shape, Widths, widths

CHANNELS = (32, 32, 64, 64)  # of four stages, 64x64 images; fewer stages take the last ones


class Encoder(nn.Sequential):
    """Layers that end in `features` numbers an image."""

    def __init__(self, *layers: nn.Module, features: int):
        super().__init__(*layers)
        self.features = features


Networks = Callable[[Shape, int, int], tuple[Encoder, nn.Sequential]]
"""A paper's own networks: a function of (image_shape, latent, channels of the decoder's output)."""


Layers = Callable[[Sequence[int]], list[nn.Module]]
"""Fully connected layers from size to size."""


def activated(sizes: Sequence[int], act: type[nn.Module]) -> list[nn.Module]:
    """Linear layers from size to size, an activation after each."""
    return [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), act())]


def dense(sizes: Sequence[int]) -> list[nn.Module]:
    """Linear layers from size to size, a ReLU after each."""
    return activated(sizes, nn.ReLU)


def gates(sizes: Sequence[int]) -> list[nn.Module]:
    """Gated layers from size to size, (W x + b) * sigmoid(V x + c), Dauphin et al. (2017); W and V are one matrix."""
    return [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, 2 * b), nn.GLU())]


def mlp(
    image_shape: Shape, latent: int, channels: int, hidden: Widths, decoder_hidden: Widths | None
) -> tuple[Encoder, nn.Sequential]:
    """Fully connected layers with ReLUs; arguments as for `perceptrons`."""
    return perceptrons(dense, image_shape, latent, channels, hidden, decoder_hidden)


def gated(
    image_shape: Shape, latent: int, channels: int, hidden: Widths, decoder_hidden: Widths | None
) -> tuple[Encoder, nn.Sequential]:
    """Fully connected gated layers, those of Tomczak & Welling (2018); arguments as for `perceptrons`."""
    return perceptrons(gates, image_shape, latent, channels, hidden, decoder_hidden)


def perceptrons(
    layers: Layers, image_shape: Shape, latent: int, channels: int, hidden: Widths, decoder_hidden: Widths | None
) -> tuple[Encoder, nn.Sequential]:
    """Fully connected layers, the decoder's last one without an activation.

    Args:
        layers: of which kind.
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
    encoder = Encoder(nn.Flatten(), *layers([pixels, *encoder_widths]), features=(pixels, *encoder_widths)[-1])
    last = (latent, *decoder_widths)[-1]
    decoder = nn.Sequential(
        *layers([latent, *decoder_widths]),
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


ACTIVATIONS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "elu": nn.ELU, "silu": nn.SiLU, "tanh": nn.Tanh}


def vamp_conv(
    image_shape: Shape,
    latent: int,
    channels: int,
    hidden: Widths,
    decoder_hidden: Widths | None,
    *,
    network_size: Positive = 4.0,
    activation: Activation = "relu",
) -> tuple[Encoder, nn.Sequential]:
    """The convolutions of the VampPrior replication mk017/VAE-VampPrior-tf2, which halve an image twice.

    Encoder: 8f maps of kernel 7; 16f of 3, stride 2; 16f of 5; 32f of 3, stride 2; then fully connected layers.
    Decoder: a layer to 32 maps, then transposed convolutions of kernel 3: 32f; 16f, stride 2; 16f; 8f, stride 2.

    Args:
        image_shape: [C, H, W].
        latent: the decoder's input size, Z.
        channels: of the decoder's output, P * C.
        hidden: widths of the encoder's fully connected layers; the replication has one of 256.
        decoder_hidden: those of the decoder before its maps; None is none, as there.
        network_size: f.
        activation: after every layer but the decoder's first, which has a ReLU, and its last.
    """
    _check_single(image_shape)
    encoder_widths, decoder_widths = widths(hidden), widths(decoder_hidden or ())
    maps, act = [max(1, round(times * network_size)) for times in (8, 16, 16, 32)], ACTIVATIONS[activation]
    half, quarter = (tuple(math.ceil(side / by) for side in image_shape[1:]) for by in (2, 4))
    down: list[nn.Module] = []
    for a, b, kernel, stride in zip((image_shape[0], *maps), maps, (7, 3, 5, 3), (1, 2, 1, 2)):
        down += [nn.Conv2d(a, b, kernel, stride=stride, padding=kernel // 2), act()]
    flat = maps[-1] * math.prod(quarter)
    encoder = Encoder(
        *down, nn.Flatten(), *activated([flat, *encoder_widths], act), features=(flat, *encoder_widths)[-1]
    )

    def doubled(a: int, b: int, small: tuple[int, ...], large: Sequence[int]) -> nn.Module:
        odd = large[0] - (2 * small[0] - 1), large[1] - (2 * small[1] - 1)  # 0 where halving rounded up
        return nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=odd)

    decoder = nn.Sequential(
        *activated([latent, *decoder_widths], act),
        *dense([(latent, *decoder_widths)[-1], 32 * math.prod(quarter)]),
        nn.Unflatten(1, (32, *quarter)),
        *(nn.ConvTranspose2d(32, maps[3], 3, padding=1), act()),
        *(doubled(maps[3], maps[2], quarter, half), act()),
        *(nn.ConvTranspose2d(maps[2], maps[1], 3, padding=1), act()),
        *(doubled(maps[1], maps[0], half, image_shape[1:]), act()),
        nn.ConvTranspose2d(maps[0], channels, 3, padding=1),
    )
    return encoder, decoder


def _check_single(image_shape: Shape) -> None:
    if len(image_shape) != 3:
        raise ValueError(f"takes single images, [C, H, W], got {list(image_shape)}, which are those of pairs")


def _both(hidden: Widths, decoder_hidden: Widths | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The encoder's widths and the decoder's."""
    of_encoder = widths(hidden)
    return of_encoder, of_encoder[::-1] if decoder_hidden is None else widths(decoder_hidden)


def dsprites(image_shape: Shape, latent: int, channels: int, *_: object) -> tuple[Encoder, nn.Sequential]:
    """The networks of Barrientos & Sootla (2018) for dSprites: no ReLU follows the encoder's 128 units.

    Their code has it commented out. Arguments as for `mlp`; the widths are the table's, none are read.

    Raises:
        ValueError: the images are not 64x64.
    """
    encoder, decoder = _of_the_table("dsprites", image_shape, latent, channels, width=128)
    del encoder[-1]
    return encoder, decoder


def celeba(image_shape: Shape, latent: int, channels: int, *_: object) -> tuple[Encoder, nn.Sequential]:
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
    "gated": gated,
    "vamp_conv": vamp_conv,
    "dsprites": dsprites,
    "celeba": celeba,
}
"""The networks that all models take by name: functions of (image_shape, latent, channels, hidden, decoder_hidden).

Of the two last, settings that all models share, one reads those that it names in its signature.
"""

WIDTHS = ("hidden", "decoder_hidden")


def unread(network: Network) -> set[str]:
    """The widths that a network does not read: its own are those of a paper."""
    return {name for name in WIDTHS if name not in inspect.signature(NETWORKS[network]).parameters}


def initialise(model: nn.Module, init: Init) -> None:
    """Draws the weights of all linear and convolutional layers anew.

    Args:
        model: whose layers.
        init: "torch" leaves PyTorch's own; "vlae" is Park, Kim & Kim (2019): linear weights Kaiming uniform, fan-out,
            slope 2^(1/3), biases and convolutions as they are; "glorot" is Keras's: weights Glorot uniform, biases 0;
            "he" is Tomczak & Welling (2018): linear weights N(0, 2 / fan-in), biases and convolutions as they are.
    """
    for layer in model.modules():
        if getattr(layer, "weight", None) is not None and layer.weight.is_meta:
            continue  # it has no numbers
        if init == "vlae" and isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, a=2 ** (1 / 3), mode="fan_out")
        elif init == "he" and isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
        elif init == "glorot" and isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
