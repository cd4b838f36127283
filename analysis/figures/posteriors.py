"""Posteriors of some images in a code of two: what the model draws from, and what its decoder makes of Bayes' rule.

A posterior that is no Gaussian, or has no density at all, shows as what it is: its density is estimated from draws.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from analysis.figures import style
from analysis.figures.results import Results
from models.base import VAE
from study.trial.evaluation import evaluating
from study.trial.images import Images

PLACE = 43
MOST = len(style.RUNS)  # images: a colour each
EXTENT = 3.5  # of the picture at least, in each direction from 0: 0.9995 of a standard normal coordinate
CELLS = 140  # of the picture, each way
BLUR = 1.5  # cells, the deviation of the kernel of a density: narrow, for the edges of regions
SHARES = (0.5, 0.9)  # of the probability within a contour


class Posteriors(NamedTuple):
    """Densities on the cells of a square, each of which adds up to 1."""

    drawn: NDArray[np.float64]  # [N, cells, cells], of draws from q(z|x); rows are the second coordinate
    exact: NDArray[np.float64]  # of p(z|x), which is proportional to p(x|z) p(z)
    axis: NDArray[np.float64]  # [cells], the middle of each


def fits(results: Results) -> bool:
    return results.best.model.prior().event_shape == (2,)


def chosen(images: Images) -> Tensor:
    """The first image of each label, or without labels the first ones, as many as there are colours; [N, ...]."""
    return torch.cat(list(images.batches(among=torch.from_numpy(_rows(images)))))


def _rows(images: Images) -> NDArray[np.int64]:
    if images.labels is None:
        return np.arange(min(MOST, len(images)))
    return np.sort(np.unique(images.labels, return_index=True)[1])[:MOST]


def names(images: Images) -> list[str]:
    """Of the `chosen` images: their numbers in the split, and their labels where they have some."""
    rows, labels = _rows(images), images.labels
    return [f"image {row}" if labels is None else f"image {row}, label {labels[row]}" for row in rows]


def data(model: VAE, images: Images, draws: int = 20_000) -> Posteriors:
    """Densities of the posteriors of `chosen` images.

    Args:
        model: with a code of two.
        images: to choose from.
        draws: from each q(z|x).
    """
    x = chosen(images)
    with evaluating(model, images):
        z = model.posterior(x).sample(torch.Size([draws]))
        extent = max(EXTENT, 1.1 * z.abs().quantile(0.99).item())
        edges = np.linspace(-extent, extent, CELLS + 1)
        axis = (edges[1:] + edges[:-1]) / 2
        grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)  # the first coordinate is the faster one
        cells = torch.as_tensor(grid).to(z)
        log_p = model.log_likelihood(x, cells[:, None].expand(-1, len(x), -1)) + model.prior().log_prob(cells)[:, None]
    exact = log_p.double().softmax(0).numpy().T.reshape(-1, CELLS, CELLS)
    drawn = np.stack([_density(of, edges) for of in z.numpy().swapaxes(0, 1)])
    return Posteriors(drawn, exact, axis)


def _density(z: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of draws [S, 2], the share in each cell, blurred; rows are the second coordinate."""
    counts, _, _ = np.histogram2d(z[:, 1], z[:, 0], bins=[edges, edges])
    blurred: NDArray[np.float64] = gaussian_filter(counts, BLUR)
    return blurred / blurred.sum()


def levels(density: NDArray[np.float64]) -> list[float]:
    """The density at the edge of the smallest regions that hold each of `SHARES`, ascending."""
    falling = np.sort(density, axis=None)[::-1]
    within = falling.cumsum()
    return [float(falling[np.searchsorted(within, share)]) for share in sorted(SHARES, reverse=True)]


def draw(ax: Axes, densities: NDArray[np.float64], axis: NDArray[np.float64], title: str) -> None:
    """Each density as filled contours in a colour of its own."""
    for index, density in enumerate(densities):
        colour, _ = style.run_style(index)
        low, high = levels(density)
        ax.contourf(axis, axis, density, [low, high, density.max()], colors=[colour, colour], alpha=0.35)
        ax.contour(axis, axis, density, [low, high], colors=[colour], linewidths=0.8)
    ax.set(aspect="equal", xlabel="z 0", ylabel="z 1", title=title)


def figure(results: Results) -> Figure:
    found = data(results.best.model, results.valid)
    figure = style.canvas(4.4)
    left, right = figure.subplots(1, 2, sharey=True)
    draw(left, found.drawn, found.axis, "draws from q(z given x)")
    draw(right, found.exact, found.axis, "p(z given x) of its decoder")
    right.set_ylabel("")
    key = [Patch(facecolor=style.run_style(i)[0], alpha=0.6, label=of) for i, of in enumerate(names(results.valid))]
    figure.legend(handles=key, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    inner, outer = (f"{share:.0%}" for share in SHARES)
    figure.suptitle(f"Posteriors of {len(found.drawn)} images, {inner} and {outer} of each; {results.which}")
    return figure
