"""Reconstructions and a traversal at each report of the best trial, or the furthest, from its snapshots, animated."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from analysis.figures import style
from analysis.figures.results import Results
from models.base import VAE
from models.latents import name_of

PLACE = 13
MOST = 24  # frames
MILLISECONDS = 300


def fits(results: Results) -> bool:
    return len(data(results.folder / "snapshots")) > 1


def data(folder: Path) -> list[tuple[int, dict[str, NDArray]]]:
    """The steps of the snapshots in a folder, ascending, and what they hold: MOST at most, those that can be read."""
    files = sorted((int(path.stem), path) for path in folder.glob("*.npz") if path.stem.isdecimal())
    chosen = [files[i] for i in np.linspace(0, len(files) - 1, min(len(files), MOST)).round().astype(int)]
    found = []
    for step, path in chosen:
        with suppress(OSError, ValueError, KeyError, zipfile.BadZipFile), np.load(path) as kept:
            found.append((step, dict(kept)))
    return found


def sheet(seen: dict[str, NDArray], model: VAE) -> tuple[NDArray[np.uint8], list[str]]:
    """Images, reconstructions, and the latents that varied most then, [2 + R, F, ..., C, H, W]; names of the rows."""
    columns = min(len(seen["originals"]), seen["traversal"].shape[1])
    upper = np.stack([seen["originals"], seen["reconstructions"]])[:, :columns]
    names = ["image", "model", *(name_of(model, int(j)) for j in seen["coordinates"])]
    return np.concatenate([upper, seen["traversal"][:, :columns]]), names


def draw(ax: Axes, seen: dict[str, NDArray], model: VAE, title: str) -> None:
    """One snapshot of a model, in the place of what was drawn before."""
    ax.clear()
    pixels, names = sheet(seen, model)
    style.draw_sheet(ax, pixels, title, names)


def animation(results: Results) -> style.Animation:
    figure, ax = style.one_axes(5.6)

    def frames() -> Iterator[None]:
        for step, seen in data(results.folder / "snapshots"):
            draw(ax, seen, results.untrained, f"{results.which}, after {step:,} steps")
            yield

    return style.Animation(list(style.rendered(figure, frames())), MILLISECONDS)
