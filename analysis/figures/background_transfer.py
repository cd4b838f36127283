"""Iterative background transfer: a conjoint model puts a digit of stream 1 before a background of stream 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.conjoint_latents import values
from analysis.figures.results import Results
from imagesets import Split, backgrounds
from models.conjoint import Conjoint
from study.trial import snapshot
from study.trial.evaluation import evaluating
from study.trial.images import Images

PLACE = 57
STEPS = 5  # the playground's
ROWS = 10  # of the grid
JUDGED = 200  # transfers an image of the background
NEIGHBOURS = 15


class Accepted(NamedTuple):
    """Shares of transfers after each step, [N]."""

    digit: NDArray[np.float64]  # is still that of stream 1
    background: NDArray[np.float64]  # is still the one that was given
    both: NDArray[np.float64]


class Transfer(NamedTuple):
    """Transfers of digits before each background in turn."""

    pixels: NDArray[np.uint8]  # the digit, the background, and the steps, [R, 2 + N, C, H, W]
    accepted: Accepted


def fits(results: Results) -> bool:
    return isinstance(results.best.model, Conjoint) and "style_2" in results.spec.images.factors


def pictures(styles: Sequence[str], like: Images) -> torch.Tensor:
    """The empty backgrounds of these styles as a model sees them, [K, 1, H, W]."""
    empty = np.stack([backgrounds.picture(name) for name in styles])[:, None]
    return Images(Split(empty), like.preprocessing, device=like.device).fixed(torch.arange(len(styles)))


def data(model: Conjoint, images: Images, behind: torch.Tensor, judges: Images | None = None) -> Transfer:
    """The first digits of stream 1 before each background, the same draws at each call.

    What a transfer shows is said by the nearest images of stream 2: by most of their digits, and of their backgrounds.

    Args:
        model: on the images' device.
        images: of one split, with factors.
        behind: the backgrounds of stream 2, in the order of its styles, [K, C, H, W].
        judges: whose second images are the neighbours; if not given, those of `images` that are not transferred.
    """
    x = next(images.batches(JUDGED))
    with evaluating(model, images):
        chains_KNB = torch.stack([model.transfer(x[:, 0], each.expand_as(x[:, 1]), STEPS) for each in behind])
    first = torch.arange(min(ROWS, len(x)))
    shown = torch.cat([x[first, None, 0], chains_KNB[first % len(behind), :, first]], 1)
    return Transfer(snapshot.pixels(shown), accepted(chains_KNB, images, images if judges is None else judges))


def accepted(chains_KNB: torch.Tensor, images: Images, judges: Images) -> Accepted:
    """How often digit and background are kept, in chains [K, N + 1, B, C, H, W] of the first B digits."""
    from sklearn.neighbors import KNeighborsClassifier

    assert images.factors is not None
    assert judges.factors is not None
    start = chains_KNB.shape[2] if judges is images else 0
    second = torch.cat([x[:, 1].flatten(1) for x in judges])[start:].cpu().numpy()
    digits = KNeighborsClassifier(NEIGHBOURS).fit(second, judges.factors[start:, 0])
    styles = KNeighborsClassifier(NEIGHBOURS).fit(second, judges.factors[start:, -1])
    seen = chains_KNB[:, 1:].flatten(3).cpu().numpy()  # [K, N, B, pixels]
    flat = seen.reshape(-1, seen.shape[-1])
    digit = digits.predict(flat).reshape(seen.shape[:3]) == images.factors[: seen.shape[2], 0]
    background = styles.predict(flat).reshape(seen.shape[:3]) == np.arange(len(seen))[:, None, None]
    return Accepted(*(kept.mean((0, 2)) for kept in (digit, background, digit & background)))


def draw(ax: Axes, found: Transfer, title: str) -> None:
    """A row for each digit; below the steps, which share of all transfers is accepted."""
    steps = [f"{n}\n{share:.0%}" for n, share in enumerate(found.accepted.both, 1)]
    style.draw_sheet(ax, found.pixels, title, columns=["digit", "background", *steps])
    ax.tick_params(labelsize="x-small")


def figure(results: Results) -> Figure:
    model = results.best.model
    assert isinstance(model, Conjoint)
    found = data(model, results.valid, pictures(values(results.spec, "style_2"), results.valid))
    figure, ax = style.one_axes(8.0)
    draw(ax, found, f"Background transfer, {results.which}\nbelow: digit and background kept, of all transfers")
    return figure
