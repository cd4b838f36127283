"""Traversals of an image's largest codes, each from its own value through zero to its negative.

As the replication of Variational Sparse Coding moves them (Alfo5123, 2019): against their sign.
"""

from __future__ import annotations

import torch
from matplotlib.figure import Figure

from analysis.figures import style
from analysis.figures.results import Results
from analysis.figures.traversal import Traversal, draw
from models.base import VAE
from models.latents import name_of
from study.trial import snapshot
from study.trial.evaluation import evaluating
from study.trial.images import Images

PLACE = 51
ROWS, FRAMES = 6, 9


def fits(results: Results) -> bool:
    return results.best.model.posterior_part.point_masses and bool((results.codes[0] != 0).any())


def data(model: VAE, images: Images) -> Traversal:
    """Of the first image, those of its codes that are not zero, largest magnitude first, ROWS at most."""
    with evaluating(model, images):
        [z] = model.codes(next(images.batches(1)))
        latents = [int(j) for j in (-z.abs()).argsort()[:ROWS] if z[j] != 0]
        values = z[latents, None] * torch.linspace(1, -1, FRAMES, device=z.device)
        moved = z.expand(len(latents), FRAMES, -1).clone()
        for row, j in enumerate(latents):
            moved[row, :, j] = values[row]
        pixels = snapshot.pixels(model.decode(moved))
    return Traversal(pixels, [name_of(model, j) for j in latents], values.double().cpu().numpy())


def figure(results: Results) -> Figure:
    found = data(results.best.model, results.valid)
    figure, ax = style.one_axes(0.8 + 0.7 * len(found.names))
    draw(ax, found, f"The largest codes of an image, from their value (left) to its negative\n{results.which}")
    return figure
