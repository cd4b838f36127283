"""How many coordinates of the best model's codes are not zero."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results
from models.base import VAE
from study.trial.images import Images

PLACE = 42


class Codes(NamedTuple):
    """How many coordinates of an image's code are not zero."""

    counts: NDArray[np.int64]  # [N]
    latent: int
    expected: float | None  # by the prior, where it has exact zeros


def fits(results: Results) -> bool:
    return bool(results.best.report["zero_fraction"] > 0)


@torch.no_grad()
def data(model: VAE, images: Images) -> Codes:
    """Counts over the images of a split."""
    codes = torch.cat([model.codes(x) for x in images])
    share = model.prior_part.non_zero_share
    expected = None if share is None else share * codes.shape[1]
    return Codes((codes != 0).sum(1).numpy(), codes.shape[1], expected)


def draw(ax: Axes, codes: Codes) -> None:
    """A bar for each count."""
    low, high = int(codes.counts.min()), int(codes.counts.max())
    counts = np.bincount(codes.counts, minlength=high + 1)[low:]
    ax.bar(np.arange(low, high + 1), counts / counts.sum(), width=0.85, color=style.BLUE)
    ax.axvline(
        float(codes.counts.mean()), color=style.VERMILION, linewidth=1.8, label=f"mean {codes.counts.mean():.1f}"
    )
    if codes.expected is not None:
        label = f"prior's mean {codes.expected:.1f}"
        ax.axvline(codes.expected, color="black", linewidth=1.2, linestyle="--", label=label)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(
        xlabel=f"coordinates that are not zero, of {codes.latent}",
        ylabel="share of images",
        title=f"How sparse the codes of {len(codes.counts):,} validation images are",
    )
    ax.legend(frameon=False)


def figure(results: Results) -> Figure:
    figure, ax = style.one_axes(3.6)
    draw(ax, data(results.best.model, results.valid))
    return figure
