"""Images, and what is decoded after each update of the posterior's mode: of a Laplace or a refined posterior.

As Park et al. (2019) show it; the errors are those that their code logs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results
from models.base import VAE
from models.savae import RefinedPosterior
from models.vlae import LaplacePosterior
from study.trial import snapshot
from study.trial.evaluation import evaluating
from study.trial.images import Images

PLACE = 55
SHOWN, READ = 8, 500  # images


class Search(NamedTuple):
    """Where a search for the mode goes."""

    pixels: NDArray[np.uint8]  # images, then what is decoded at mu_0 .. mu_T, [2 + T, SHOWN, ..., C, H, W]
    errors: NDArray[np.float64]  # squared, of an image, mean over READ of them, [1 + T]


def fits(results: Results) -> bool:
    return isinstance(results.best.model.posterior_part, LaplacePosterior | RefinedPosterior)


def modes(model: VAE, x: torch.Tensor) -> list[torch.Tensor]:
    """mu_0 .. mu_T of images [B, C, H, W], each [B, Z]."""
    part = model.posterior_part
    if isinstance(part, LaplacePosterior):
        return [q.mean for q in part.search(model, x)]
    assert isinstance(part, RefinedPosterior)
    noise = part.noise[:, None].expand(-1, len(x), -1)
    return [q.mean for q in part.refine(model, x, noise, training=False)]


def data(model: VAE, images: Images) -> Search:
    """Of the first images of a split."""
    x = next(images.batches(READ))
    with evaluating(model, images):
        decoded = torch.stack([model.decode(mu) for mu in modes(model, x)])
        errors = (decoded - x).square().flatten(2).sum(-1).mean(-1)
    shown = torch.cat([x[None], decoded])[:, :SHOWN]
    return Search(snapshot.pixels(shown), errors.double().cpu().numpy())


def draw(ax: Axes, found: Search, title: str) -> None:
    """A row for each update, with its error."""
    names = [f"update {t}\n{error:.2f}" for t, error in enumerate(found.errors)]
    style.draw_sheet(ax, found.pixels, title, ["image", names[0].replace("update 0", "encoder"), *names[1:]])
    ax.tick_params(labelsize="small")


def figure(results: Results) -> Figure:
    found = data(results.best.model, results.valid)
    figure, ax = style.one_axes(0.8 + 0.72 * len(found.pixels))
    n = min(READ, len(results.valid))
    draw(ax, found, f"The search for the mode; squared error of an image, mean over {n}\n{results.which}")
    return figure
