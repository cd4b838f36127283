"""An image's sparse code, and what is decoded when its largest coordinate is shrunk, or turned round.

Experiment "modify the encoding" of the replication of Variational Sparse Coding (Alfo5123, 2019), with its factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results
from models.base import VAE
from study.trial import snapshot
from study.trial.evaluation import evaluating
from study.trial.images import Images

PLACE = 52
FACTORS = (1.0, 0.01, -0.5)  # of the coordinate


class Modified(NamedTuple):
    """Codes that differ in one coordinate, decoded."""

    codes: NDArray[np.float64]  # [F, Z]
    pixels: NDArray[np.uint8]  # [F, ..., C, H, W]
    latent: int


def fits(results: Results) -> bool:
    return results.best.model.posterior_part.point_masses and bool((results.codes[0] != 0).any())


def data(model: VAE, images: Images) -> Modified:
    """Of the first image."""
    with evaluating(model, images):
        codes = model.codes(next(images.batches(1))).repeat(len(FACTORS), 1)
        latent = int(codes[0].abs().argmax())
        codes[:, latent] *= torch.tensor(FACTORS, device=codes.device)
        pixels = snapshot.pixels(model.decode(codes))
    return Modified(codes.double().cpu().numpy(), pixels, latent)


def draw(axes: Sequence[Axes], found: Modified) -> None:
    """The code as bars, with the coordinate in a colour of its own, above its image, for each factor."""
    limit = 1.1 * float(np.abs(found.codes).max())
    columns = len(FACTORS)
    for bars, tile, z, pixels, factor in zip(axes[:columns], axes[columns:], found.codes, found.pixels, FACTORS):
        colours = [style.VERMILION if j == found.latent else style.BLUE for j in range(len(z))]
        bars.bar(np.arange(len(z)), z, width=0.9, color=colours)
        bars.axhline(0, color="black", linewidth=0.6)
        bars.set_ylim(-limit, limit)
        bars.set(title="as it is" if factor == 1 else f"z {found.latent} times {factor:g}", xlabel="latent")
        bars.tick_params(labelsize="x-small")
        style.draw_sheet(tile, pixels[None, None], "")
    axes[0].set_ylabel("code")


def figure(results: Results) -> Figure:
    figure, axes = style.panels(2 * len(FACTORS), len(FACTORS), 2.1)
    draw(axes, data(results.best.model, results.valid))
    figure.suptitle(f"What the largest coordinate of a code does, {results.which}")
    return figure
