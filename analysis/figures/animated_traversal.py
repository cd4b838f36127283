"""A code of few latents in motion: one after the other is moved, with the code as bars beside what is decoded.

As the replication of Variational Sparse Coding plays with eight latents (Alfo5123, 2019).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results
from models.base import VAE
from models.latents import name_of
from study.trial import snapshot
from study.trial.evaluation import evaluating
from study.trial.images import Images

PLACE = 35
MOST = 10  # latents; of more, bars tell little
STEPS = 3  # from the image's value to an end, and as many back
MILLISECONDS = 150


class Motion(NamedTuple):
    """Codes one after the other, decoded."""

    names: list[str]  # of the latents, [Z]
    codes: NDArray[np.float64]  # [N, Z]
    moved: list[int]  # which latent moves, [N]
    pixels: NDArray[np.uint8]  # [N, ..., C, H, W]


def fits(results: Results) -> bool:
    return results.codes.shape[1] <= MOST


def data(model: VAE, images: Images, codes: NDArray[np.float64]) -> Motion:
    """Each latent of the first image to the smallest value that it takes, to the largest one, and back.

    Args:
        model: on the images' device.
        images: of one split.
        codes: of some of these images, [N, Z].
    """
    start = codes[0]
    path, moved = [], []
    for j, (low, high) in enumerate(zip(codes.min(0), codes.max(0))):
        legs = [(start[j], low, STEPS), (low, high, 2 * STEPS), (high, start[j], STEPS)]
        values = np.concatenate([np.linspace(a, b, steps, endpoint=False) for a, b, steps in legs])
        at = np.tile(start, (len(values), 1))
        at[:, j] = values
        path.append(at)
        moved += [j] * len(values)
    z = np.concatenate(path)
    with evaluating(model, images):
        pixels = snapshot.pixels(model.decode(torch.as_tensor(z, dtype=torch.float32, device=images.device)))
    return Motion([name_of(model, j).removeprefix("z ") for j in range(len(start))], z, moved, pixels)


def draw(axes: Sequence[Axes], found: Motion) -> Iterator[None]:
    """The code as bars, the one that moves in a colour of its own, beside its image; yields after each frame."""
    left, right = axes
    places, limit = np.arange(found.codes.shape[1]), 1.05 * float(np.abs(found.codes).max())
    bars = left.bar(places, found.codes[0], color=style.BLUE)
    left.axhline(0, color="black", linewidth=0.6)
    left.set(ylim=(-limit, limit), xlabel="latent", ylabel="code")
    left.set_xticks(places, found.names, fontsize="small")
    style.draw_sheet(right, found.pixels[:1][None], "")
    [shown] = right.images
    for z, j, pixels in zip(found.codes, found.moved, found.pixels):
        for place, (bar, height) in enumerate(zip(bars, z)):
            bar.set_height(height)
            bar.set_color(style.VERMILION if place == j else style.BLUE)
        shown.set_data(snapshot.sheet(pixels[None, None], gap=style.GAP))
        yield


def animation(results: Results) -> style.Animation:
    found = data(results.best.model, results.valid, results.codes)
    figure, axes = style.panels(2, 2, 2.4)
    figure.suptitle(f"One latent after the other, {results.which}")
    return style.Animation(list(style.rendered(figure, draw(axes, found))), MILLISECONDS)
