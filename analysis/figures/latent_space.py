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


def draw(ax: Axes, found: Space, title: str) -> None:
    """A dot for each image in the colour of its class, whose name stands amid them; what lies far out is cut off."""
    for colour, label in zip(style.CLASSES, np.unique(found.labels)):
        points = found.points[found.labels == label]
        ax.scatter(points[:, 0], points[:, 1], s=8, color=colour, linewidths=0, rasterized=True)
        outline: list[Any] = [withStroke(linewidth=2.5, foreground="white")]
        words: dict[str, Any] = {"ha": "center", "va": "center", "weight": "bold", "path_effects": outline}
        x, y = np.median(points, axis=0)
        ax.text(x, y, str(label), color=colour, zorder=4, **words)
    low, high = np.quantile(found.points, [0.002, 0.998], axis=0)
    margin = 0.06 * (high - low) + 1e-6
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
    for ax, results in zip(axes, several):
        draw(ax, _space(results), results.name)
    figure.suptitle("Codes of validation images by label")
    return figure
