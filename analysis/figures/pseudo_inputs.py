"""The pseudo-inputs of a VampPrior, and what the model makes of each: the components that its prior is a mixture of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from analysis.figures import style
from analysis.figures.results import Results
from models.base import VAE
from models.vampprior import VampPrior
from study.trial import snapshot

PLACE = 54
SIDE = 6  # of the sheets
draw = style.draw_sheet


def vamp_prior(model: nn.Module) -> VampPrior | None:
    """The model's VampPrior, on whichever level; None without one."""
    return next((part for part in model.modules() if isinstance(part, VampPrior)), None)


def fits(results: Results) -> bool:
    return vamp_prior(results.best.model) is not None


def data(model: VAE) -> NDArray[np.uint8]:
    """The first pseudo-inputs, and their reconstructions, [2, rows, columns, C, H, W]."""
    prior = vamp_prior(model)
    assert prior is not None
    with torch.no_grad():
        inputs = prior.images()[: SIDE**2]
    shown = snapshot.pixels(torch.stack([inputs, model.reconstruct(inputs)]))
    columns = min(SIDE, len(inputs))
    rows = len(inputs) // columns
    return shown[:, : rows * columns].reshape(2, rows, columns, *shown.shape[2:])


def figure(results: Results) -> Figure:
    return _figure([(data(results.best.model), results)], f"of {results.which}")


def compare(several: Sequence[Results]) -> Figure:
    return _figure([(data(results.best.model), results) for results in several], "of each run")


def _figure(found: Sequence[tuple[NDArray[np.uint8], Results]], whose: str) -> Figure:
    figure, axes = style.panels(2 * len(found), 2, 3.3)
    for index, (pixels, results) in enumerate(found):
        run = f"{results.name}: " if len(found) > 1 else ""
        white = pixels[0].max()  # of their grey, which may be dark
        words = "u" if white == 255 else f"u, white is {white / 255:.2f}"
        draw(axes[2 * index], (pixels[0] * (255 / max(white, 1))).astype(np.uint8), f"{run}{words}")
        draw(axes[2 * index + 1], pixels[1], f"{run}reconstruction of u")
    prior = vamp_prior(found[0][1].best.model)
    assert prior is not None
    number = f"{found[0][0][0, :, :, 0, 0, 0].size} of {len(prior.pseudo_inputs)} pseudo-inputs u"
    figure.suptitle(f"{number if len(found) == 1 else 'Pseudo-inputs u'} {whose}")
    return figure
