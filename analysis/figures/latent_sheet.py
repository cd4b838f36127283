"""Images, their reconstructions, and a row for each latent, moved over three deviations of the prior.

As Barrientos & Sootla (2018) show what each latent holds; the other latents are those of the first image.
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
from models.distributions import Gaussian
from models.latents import name_of
from study.trial import snapshot
from study.trial.evaluation import evaluating
from study.trial.images import Images

PLACE = 36
COLUMNS = 9
DEVIATIONS = 3.0  # of the prior, each way
MOST = 10  # latents


class Sheet(NamedTuple):
    """Images, what a model makes of them, and what each latent does."""

    pixels: NDArray[np.uint8]  # images, reconstructions, then a row a latent, [2 + R, COLUMNS, ..., C, H, W]
    names: list[str]  # of the rows


def fits(results: Results) -> bool:
    return isinstance(results.best.model.prior(), Gaussian)


def data(model: VAE, images: Images, codes: NDArray[np.float64]) -> Sheet:
    """Those latents whose codes vary most, as far as there is room, in the order of how much they do.

    Args:
        model: with independent Gaussians for a prior.
        images: of one split, at least COLUMNS.
        codes: of some of these images, [N, Z].
    """
    latents = np.argsort(-codes.var(0), kind="stable")[:MOST].tolist()
    x = next(images.batches(COLUMNS))
    with evaluating(model, images):
        prior, z = model.prior(), model.codes(x)
        moved = z[0].expand(len(latents), len(x), -1).clone()
        for row, j in enumerate(latents):
            steps = torch.linspace(-DEVIATIONS, DEVIATIONS, len(x), device=z.device)
            moved[row, :, j] = prior.mean[j] + prior.stddev[j] * steps
        shown = torch.cat([x[None], model.decode(z)[None], model.decode(moved)])
    return Sheet(snapshot.pixels(shown), ["image", "model", *(name_of(model, j) for j in latents)])


def draw(ax: Axes, sheet: Sheet, title: str) -> None:
    """The sheet, with the deviations below the first, the middle and the last column."""
    steps = np.linspace(-DEVIATIONS, DEVIATIONS, sheet.pixels.shape[1])
    at = {0, len(steps) // 2, len(steps) - 1}
    names = [f"{step:+.0f} sd" if step else "mean" for step in steps]
    words = [name if column in at else "" for column, name in enumerate(names)]
    style.draw_sheet(ax, sheet.pixels, title, sheet.names, columns=words)
    ax.tick_params(labelsize="small")


def figure(results: Results) -> Figure:
    sheet = data(results.best.model, results.valid, results.codes)
    figure, ax = style.one_axes(0.9 + 0.62 * len(sheet.pixels))
    draw(ax, sheet, f"Each latent over ±{DEVIATIONS:g} standard deviations of the prior\n{results.which}")
    return figure


def compare(several: Sequence[Results]) -> Figure:
    sheets = [data(results.best.model, results.valid, results.codes) for results in several]
    figure, axes = style.panels(len(sheets), 2, 0.7 + 0.3 * max(len(sheet.pixels) for sheet in sheets))
    for ax, sheet, results in zip(axes, sheets, several):
        draw(ax, sheet, results.name)
    figure.suptitle(f"Each latent over ±{DEVIATIONS:g} standard deviations of the prior")
    return figure
