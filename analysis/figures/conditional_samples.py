"""Draws that keep which coordinates of an image's sparse code are on, and draw most of their values anew.

Conditional sampling of Variational Sparse Coding (Tonolini et al., 2019), with the share of its replication.
"""

from __future__ import annotations

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

PLACE = 53
ROWS, DRAWS = 6, 6
SHARE = 0.8  # of the coordinates that are on, drawn from N(0, 1)


def fits(results: Results) -> bool:
    return results.best.model.posterior_part.point_masses


def data(model: VAE, images: Images) -> NDArray[np.uint8]:
    """Images, their reconstructions, then draws, the same at each call, [ROWS, 2 + DRAWS, ..., C, H, W]."""
    x = next(images.batches(ROWS))
    with evaluating(model, images):
        z = model.codes(x)
        decoded = model.decode(torch.cat([z[:, None], redrawn(z, DRAWS)], 1))
    return snapshot.pixels(torch.cat([x[:, None], decoded], 1))


def redrawn(z: torch.Tensor, draws: int) -> torch.Tensor:
    """Codes [B, Z] with SHARE of the coordinates that are on, rounded, drawn anew, [B, draws, Z]."""
    on = (z != 0)[:, None].expand(-1, draws, -1)
    rank = torch.rand(on.shape, device=z.device).masked_fill(~on, 2.0).argsort(-1).argsort(-1)
    chosen = on & (rank < (SHARE * on.sum(-1, keepdim=True)).round())
    return torch.where(chosen, torch.randn(on.shape, device=z.device), z[:, None])


def draw(ax: Axes, pixels: NDArray[np.uint8], title: str) -> None:
    """A row for each image."""
    draws = range(1, pixels.shape[1] - 1)
    style.draw_sheet(ax, pixels, title, columns=["image", "model", *map(str, draws)])
    ax.tick_params(labelsize="small")


def figure(results: Results) -> Figure:
    figure, ax = style.one_axes(5.7)
    title = f"{SHARE:.0%} of the coordinates that are on drawn anew, the others as they are\n{results.which}"
    draw(ax, data(results.best.model, results.valid), title)
    return figure
