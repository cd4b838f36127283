"""The KL of each latent of the best model, which says how much each tells of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import CODED, Results
from models.base import VAE
from models.latents import kl_by_latent, kl_shares, name_of
from study.trial.evaluation import evaluating
from study.trial.images import Images

PLACE = 41
NAMED = 32  # latents at most, whose numbers have room below their bars
QUARTILES = (0.25, 0.75)


class Shares(NamedTuple):
    """The KL of each latent, largest mean first."""

    names: list[str]  # [Z]
    means: NDArray[np.float64]  # over images, in nats, [Z]
    quartiles: NDArray[np.float64]  # [2, Z]


def fits(results: Results) -> bool:
    model = results.best.model
    with evaluating(model, results.valid):
        return kl_shares(model.posterior(next(results.valid.batches(1))), model.prior()) is not None


def data(model: VAE, images: Images) -> Shares:
    """Of the first images of a split, CODED at most; the coordinates of posterior and prior must be independent."""
    with evaluating(model, images):
        kl = torch.cat([kl_by_latent(model, x) for x in images.batches(first=CODED)]).double().cpu().numpy()
    order = np.argsort(-kl.mean(0), kind="stable")
    names = [name_of(model, int(j)).removeprefix("z ") for j in order]
    return Shares(names, kl.mean(0)[order], np.quantile(kl[:, order], QUARTILES, axis=0))


def draw(ax: Axes, found: Shares) -> None:
    """A bar for each latent, with the middle half of the images as a line on it."""
    places = np.arange(len(found.names))
    ax.bar(places, found.means, width=0.8, color=style.BLUE, label="mean over images")
    ax.vlines(places, *found.quartiles, color="black", linewidth=1, label="middle half of the images")
    if len(places) <= NAMED:
        ax.set_xticks(places, found.names, fontsize="small" if len(places) < 20 else "x-small")
        ax.set_xlabel("latent")
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel("latents by their KL")
    ax.set_xlim(-0.7, len(places) - 0.3)
    ax.set_ylim(bottom=min(0.0, float(found.quartiles.min())))
    ax.set_ylabel("KL [nats / image]")
    ax.legend(frameon=False)


def draw_compared(ax: Axes, runs: Sequence[tuple[str, Shares]]) -> None:
    """A line for each run, over the latents from the largest KL to the smallest."""
    for index, (name, found) in enumerate(runs):
        colour, marker = style.run_style(index)
        size = 4 if len(found.names) <= NAMED else 2
        label = f"{name}, {found.means.sum():.1f} nats"
        ax.plot(np.arange(1, len(found.means) + 1), found.means, color=colour, marker=marker, ms=size, label=label)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylim(bottom=0)
    ax.set_xlim(left=0.5)
    ax.set(xlabel="latents by their KL, largest first", ylabel="KL [nats / image]")
    ax.legend(frameon=False)


def _images(several: Sequence[Results]) -> str:
    """How many the means are over, in words."""
    counts = sorted({min(CODED, len(results.valid)) for results in several})
    return f"{' or '.join(f'{count:,}' for count in counts)} images"


def figure(results: Results) -> Figure:
    found = data(results.best.model, results.valid)
    figure, ax = style.one_axes(3.6)
    draw(ax, found)
    ax.set_title(f"KL of each latent, {found.means.sum():.1f} nats in all; {results.which}, {_images([results])}")
    return figure


def compare(several: Sequence[Results]) -> Figure:
    figure, ax = style.one_axes(3.8)
    draw_compared(ax, [(results.name, data(results.best.model, results.valid)) for results in several])
    ax.set_title(f"KL of each latent, mean over {_images(several)}")
    return figure
