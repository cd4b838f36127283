"""Codes of validation images, coloured by their label: as they are in a code of two, of more latents by UMAP.

Where umap-learn is not installed, by t-SNE; the axes say which.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results

PLACE = 40
EMBEDDED = 1000  # codes at most, of those that are embedded in two dimensions
NEIGHBOURS = {"UMAP": 15, "t-SNE": 30}  # that are kept near each other, of the second the perplexity: their defaults


class Space(NamedTuple):
    """Codes in two dimensions, and the labels of their images."""

    points: NDArray[np.float64]  # [N, 2]
    labels: NDArray  # [N]
    axes: tuple[str, str]  # their names


def fits(results: Results) -> bool:
    labels, size = results.valid.labels, results.codes.shape[1]
    return labels is not None and 1 < len(np.unique(labels)) <= len(style.CLASSES) and size > 1


def data(codes: NDArray[np.float64], labels: NDArray) -> Space:
    """The same points at each call.

    Args:
        codes: [N, Z], at least two latents.
        labels: of the same images, [N].
    """
    if codes.shape[1] == 2 or not codes.var(0).any():  # of codes that are all equal there is nothing to embed
        return Space(codes[:, :2], labels, ("z 0", "z 1"))
    way = "UMAP" if importlib.util.find_spec("umap") else "t-SNE"
    points = (_umap if way == "UMAP" else _t_sne)(codes[:EMBEDDED], NEIGHBOURS[way])
    return Space(points.astype(float), labels[:EMBEDDED], (f"{way} 1", f"{way} 2"))


def _umap(codes: NDArray[np.float64], neighbours: int) -> NDArray:
    """McInnes, Healy & Melville (2018), begun at the principal components."""
    import umap  # it takes seconds to import

    neighbours = min(neighbours, len(codes) - 1)
    points: NDArray = umap.UMAP(neighbours, init="pca", random_state=0, n_jobs=1).fit_transform(codes)
    return points


def _t_sne(codes: NDArray[np.float64], neighbours: int) -> NDArray:
    """van der Maaten & Hinton (2008), begun at the principal components."""
    from sklearn.manifold import TSNE  # it takes a second to import

    perplexity = min(neighbours, (len(codes) - 1) / 3)
    points: NDArray = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(codes)
    return points


def shown(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of some points [N, 2] are not so far out that they would flatten the others."""
    low, high = np.quantile(points, [0.002, 0.998], axis=0)
    reach = 0.25 * (high - low) + 1e-6
    near: NDArray[np.bool_] = ((points >= low - reach) & (points <= high + reach)).all(1)
    return near


def apart(places: NDArray[np.float64], gap: float = 0.08) -> NDArray[np.float64]:
    """Places [K, 2] of names in a square of side 1, moved until no two are nearer than about `gap`."""
    found = places + 1e-6 * np.arange(len(places))[:, None]  # what is at one place has a direction too
    for _ in range(50):
        away = found[:, None] - found
        distance = np.linalg.norm(away, axis=-1) + np.eye(len(found))
        found = found + (away / distance[..., None] * np.clip(gap - distance, 0, None)[..., None]).sum(1) / 2
    return found


def draw(ax: Axes, found: Space, title: str) -> None:
    """A dot for each image in the colour of its class, whose name stands amid them; what lies far out is left out.

    How many that are, is said.
    """
    near = shown(found.points)
    classes = np.unique(found.labels)
    low, high = found.points[near].min(0), found.points[near].max(0)
    middles = np.array([np.median(found.points[found.labels == label], axis=0) for label in classes])
    names = low + (high - low) * apart((middles - low) / np.where(high > low, high - low, 1.0))
    outline: list[Any] = [withStroke(linewidth=2.5, foreground="white")]
    words: dict[str, Any] = {"ha": "center", "va": "center", "weight": "bold", "path_effects": outline}
    for colour, label, (x, y) in zip(style.CLASSES, classes, names):
        points = found.points[near & (found.labels == label)]
        ax.scatter(points[:, 0], points[:, 1], s=8, color=colour, linewidths=0, rasterized=True)
        ax.text(x, y, str(label), color=colour, zorder=4, **words)
    if not near.all():
        where: dict[str, Any] = {"transform": ax.transAxes, "ha": "right", "va": "bottom", "fontsize": "x-small"}
        ax.text(0.99, 0.01, f"{(~near).sum()} further out", color=style.GREY, **where)
    margin = 0.03 * (high - low) + 1e-6
    ax.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
    if not found.axes[0].startswith("z"):  # whose scale means nothing
        ax.set(xticks=[], yticks=[])
    ax.set(xlabel=found.axes[0], ylabel=found.axes[1], title=title)


def _space(results: Results) -> Space:
    assert results.valid.labels is not None
    return data(results.codes, results.valid.labels[: len(results.codes)])


def figure(results: Results) -> Figure:
    found = _space(results)
    figure, ax = style.one_axes(5.2)
    draw(ax, found, f"Codes of {len(found.points):,} validation images by label, {results.which}")
    return figure


def compare(several: Sequence[Results]) -> Figure:
    figure, axes = style.panels(len(several), 2, 3.3)
    each = [_space(results) for results in several]
    for ax, results, found in zip(axes, several, each):
        draw(ax, found, results.name)
    counts = " or ".join(f"{count:,}" for count in sorted({len(found.points) for found in each}))
    figure.suptitle(f"Codes of {counts} validation images by label")
    return figure
