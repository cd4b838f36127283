"""Iterative background transfer in motion: what its animations share.

As gdikov/vae-playground shows it, in 20 steps: each digit before each background, in pixels and in the spaces of codes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.background_transfer import fits, pictures
from analysis.figures.conjoint_latents import COLOURS, Plane, plane, values
from analysis.figures.results import Results
from models.conjoint import Conjoint
from study.trial import snapshot
from study.trial.evaluation import evaluating
from study.trial.images import Images

STEPS = 20
MILLISECONDS = 400
SHADES = 160  # of ten colours, some see-through, and grey
MARKS = "osD^vP*X"  # of the backgrounds

__all__ = ["Chains", "InSpace", "animation", "data", "draw", "fits", "in_space", "of"]


class Chains(NamedTuple):
    """A digit of each kind before each of K backgrounds, after every step."""

    digits: NDArray[np.int64]  # [D]
    first: NDArray[np.uint8]  # the images of stream 1, [D, C, H, W]
    second: NDArray[np.uint8]  # those of stream 2, from the empty backgrounds on, [N + 1, K, D, C, H, W]
    codes: NDArray[np.float64]  # of the pairs, [N + 1, K, D, Z]


def data(model: Conjoint, images: Images, behind: torch.Tensor, steps: int = STEPS) -> Chains:
    """The first image of each digit, the same draws at each call.

    Args:
        model: on the images' device.
        images: of one split, with factors, of which the first is the digit.
        behind: the backgrounds of stream 2, [K, C, H, W].
        steps: how many, N.
    """
    assert images.factors is not None
    digits, numbers = np.unique(images.factors[:, 0], return_index=True)
    first = images.fixed(torch.from_numpy(numbers).to(images.device))[:, 0]
    with evaluating(model, images):
        second = torch.stack([model.transfer(first, each.expand_as(first), steps) for each in behind], 1)
        pairs = torch.stack([first.expand_as(second), second], 3)
        codes = torch.stack([model.codes(each.flatten(0, 1)) for each in pairs]).unflatten(1, pairs.shape[1:3])
    return Chains(digits, snapshot.pixels(first), snapshot.pixels(second), codes.double().cpu().numpy())


def of(results: Results) -> Chains:
    """Those of a run's best model, on the validation images."""
    model = results.best.model
    assert isinstance(model, Conjoint)
    return data(model, results.valid, pictures(values(results.spec, "style_2"), results.valid))


class InSpace(NamedTuple):
    """Chains in two dimensions of a part of the codes, amid the codes of the validation pairs."""

    axes: tuple[str, str]  # their names
    pairs: NDArray[np.float64]  # [M, 2]
    factor: NDArray[np.int64]  # which of its values each pair has, [M]
    chains: NDArray[np.float64]  # [N + 1, K, D, 2]
    colours: NDArray[np.int64]  # whose chain is of which value of the factor, [K, D]
    digits: NDArray[np.int64]  # [D]


def in_space(chains: Chains, codes: NDArray[np.float64], factors: NDArray[np.int64], part: str, at: slice) -> InSpace:
    """In the shared space pairs and chains are told apart by their digit, in a private one by the second background.

    Args:
        chains: from `data`.
        codes: of the validation pairs, [M, Z].
        factors: of these pairs, the digit first, the second background last, [M, F].
        part: of the code.
        at: where it is.
    """
    on: Plane = plane(codes[:, at])
    _, backgrounds, digits, _ = chains.codes.shape
    shared = part == "zs"
    told_by = np.broadcast_to(chains.digits, (backgrounds, digits)) if shared else np.indices((backgrounds, digits))[0]
    factor, points = factors[:, 0 if shared else -1], on.points(chains.codes[..., at])
    return InSpace(on.names(part), on.points(codes[:, at]), factor, points, told_by, chains.digits)


def draw(ax: Axes, found: InSpace, names: list[str]) -> Iterator[None]:
    """The pairs as dots, each chain as a mark with its digit and the way behind it; yields after each step.

    Args:
        ax: to draw on.
        found: from `in_space`.
        names: of the backgrounds, each of which has a mark.
    """
    scale: dict[str, Any] = {"cmap": COLOURS, "vmin": -0.5, "vmax": COLOURS.N - 0.5}
    look: dict[str, Any] = {"s": 10, "alpha": 0.7, "linewidths": 0, "zorder": 1, **scale}
    ax.scatter(found.pairs[:, 0], found.pairs[:, 1], c=found.factor, **look)
    ax.set(xlabel=found.axes[0], ylabel=found.axes[1])
    look = {"linestyle": "", "markersize": 8}
    own = [COLOURS(int(row[0])) if (row == row[0]).all() else "0.3" for row in found.colours]
    key = [Line2D([], [], marker=mark, label=name, color=c, **look) for mark, name, c in zip(MARKS, names, own)]
    ax.legend(handles=key, title="background", frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    each = list(np.ndindex(found.colours.shape))
    ways = [ax.plot([], [], color="black", linewidth=0.7, alpha=0.6, zorder=2)[0] for _ in each]
    words: dict[str, Any] = {"fontsize": 8, "weight": "bold", "ha": "center", "va": "center", "zorder": 4}
    labels = [
        ax.text(0, 0, str(found.digits[place[1]]), color=_upon(int(found.colours[place])), **words) for place in each
    ]
    marked: dict[str, Any] = {"s": 130, "edgecolors": "black", "linewidths": 0.8, "zorder": 3, **scale}
    shown = zip(MARKS, found.chains[0], found.colours)
    marks = [ax.scatter(at[:, 0], at[:, 1], c=colours, marker=mark, **marked) for mark, at, colours in shown]
    everywhere = np.concatenate([found.pairs, found.chains.reshape(-1, 2)])
    low, high = everywhere.min(0), everywhere.max(0)
    margin = 0.05 * (high - low) + 1e-6
    ax.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
    for step, now in enumerate(found.chains):
        for way, label, place in zip(ways, labels, each):
            way.set_data(*found.chains[: step + 1, *place].T)
            label.set_position(now[place])
        for dots, places in zip(marks, now):
            dots.set_offsets(places)
        ax.set_title(f"step {step} of {len(found.chains) - 1}", fontsize="medium")
        yield


def _upon(value: int) -> str:
    """The colour of a word on a value's colour."""
    return "white" if np.dot(COLOURS(value)[:3], (0.299, 0.587, 0.114)) < 0.6 else "black"


def animation(results: Results, part: str, title: str) -> style.Animation:
    """Of a run, in that part of the codes."""
    model, factors = results.best.model, results.valid.factors
    assert isinstance(model, Conjoint)
    assert factors is not None
    found = in_space(of(results), results.codes, factors[: len(results.codes)], part, model.slices[part])
    figure, ax = style.one_axes(5.0)
    figure.suptitle(f"{title}\n{results.which}")
    frames = draw(ax, found, values(results.spec, "style_2"))
    return style.Animation(list(style.rendered(figure, frames)), MILLISECONDS, SHADES)
