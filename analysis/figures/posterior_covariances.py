"""The covariance of q(z given x) for one image: diagonal, or with what the posterior knows of latents that go together.

As Park et al. (2019) compare a plain, a semi-amortised, a Householder and a Laplace posterior.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results
from models.base import VAE
from models.distributions import coordinates
from study.trial import snapshot
from study.trial.evaluation import evaluating
from study.trial.images import Images

PLACE = 44
MOST = 64  # latents
DRAWS = 20_000


def compares(results: Results) -> bool:
    return 1 < results.codes.shape[1] <= MOST and not results.spec.images.paired


def fits(results: Results) -> bool:
    """Alone it is shown where it is not known to be diagonal."""
    if not compares(results):
        return False
    with evaluating(results.best.model, results.valid):
        return coordinates(results.best.model.posterior(next(results.valid.batches(1)))) is None


def data(model: VAE, images: Images, draws: int = DRAWS) -> NDArray[np.float64]:
    """Of the first image, from draws, which every posterior has, [Z, Z]; an entry is off by 1 / sqrt(draws) at most,
    as a share of the two deviations."""
    with evaluating(model, images):
        z = model.posterior(next(images.batches(1))).sample(torch.Size([draws]))[:, 0]
    covariance: NDArray[np.float64] = np.cov(z.double().cpu().numpy().T)
    return covariance


def draw(ax: Axes, covariance: NDArray[np.float64], limit: float, title: str) -> None:
    """A cell for each pair of latents."""
    ax.imshow(covariance, cmap=style.SIGNED, vmin=-limit, vmax=limit)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set(xlabel="latent", ylabel="latent", title=title)


def figure(results: Results) -> Figure:
    return _figure([results], [results.which])


def compare(several: Sequence[Results]) -> Figure:
    return _figure(several, [results.name for results in several])


def _figure(several: Sequence[Results], names: Sequence[str]) -> Figure:
    found = [data(results.best.model, results.valid) for results in several]
    limit = max(float(np.abs(covariance).max()) for covariance in found)
    figure, (image, *axes) = style.panels(1 + len(found), 2 if len(found) in (1, 3) else 3, 2.5)
    style.draw_sheet(image, snapshot.pixels(next(several[0].valid.batches(1)))[None], "image")
    for ax, covariance, name in zip(axes, found, names):
        draw(ax, covariance, limit, name)
    colours = figure.colorbar(axes[0].images[0], ax=axes, shrink=0.8, aspect=30)
    colours.set_label("covariance")
    figure.suptitle("Covariance of the posterior of one image")
    return figure
