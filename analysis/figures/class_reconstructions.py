"""Validation images of each class, a row a class, beside what the best model makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results
from models.base import VAE
from study.trial import snapshot
from study.trial.evaluation import evaluating
from study.trial.images import Images

PLACE = 31
COLUMNS = 10  # images of a class
draw = style.draw_sheet


def fits(results: Results) -> bool:
    labels = results.valid.labels
    return labels is not None and 1 < len(np.unique(labels)) <= len(style.CLASSES)


def chosen(labels: NDArray) -> NDArray[np.int64]:
    """The first images of each class, as many of each as all have, COLUMNS at most, [classes, N]."""
    classes, counts = np.unique(labels, return_counts=True)
    each = min(COLUMNS, int(counts.min()))
    return np.stack([np.flatnonzero(labels == name)[:each] for name in classes])


def data(model: VAE, images: Images) -> NDArray[np.uint8]:
    """The images, and their reconstructions, [2, classes, N, ..., C, H, W].

    Args:
        model: on the images' device.
        images: with labels.
    """
    assert images.labels is not None
    rows = chosen(images.labels)
    x = torch.cat(list(images.batches(among=torch.from_numpy(rows.reshape(-1)))))
    with evaluating(model, images):
        shown = torch.stack([x, model.reconstruct(x)])
    return snapshot.pixels(shown).reshape(2, *rows.shape, *shown.shape[2:])


def figure(results: Results) -> Figure:
    return _figure([results], f"Validation images by class, {results.which}", ["reconstructions"])


def compare(several: Sequence[Results]) -> Figure:
    return _figure(several, "Validation images by class", [results.name for results in several])


def _figure(several: Sequence[Results], title: str, names: Sequence[str]) -> Figure:
    assert several[0].valid.labels is not None
    classes = [str(name) for name in np.unique(several[0].valid.labels)]
    found = [data(results.best.model, results.valid) for results in several]
    columns = 2 if len(several) == 1 else 3
    height = 0.5 + (style.WIDTH / columns - 0.4) * len(classes) / found[0].shape[2]
    figure, axes = style.panels(1 + len(several), columns, height)
    for ax, pixels, name in zip(axes, [found[0][0], *(each[1] for each in found)], ["images", *names]):
        draw(ax, pixels, name, classes)
    figure.suptitle(title)
    return figure
