"""Images drawn from the prior of an exported model, as tiles of a picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models.base import VAE
from study.trial.files import write_whole
from study.trial.snapshot import Pixels, pixels, sheet

AT_ONCE = 500  # images that are decoded together
WIDTH = 800  # pixels of a picture, about, where its tiles are small


def drawn(model: VAE, n: int, seed: int) -> Pixels:
    """Mean images of n draws from the prior, which follow from the seed: uint8 [n, C, H, W], of pairs [n, 2, C, H, W].

    Args:
        model: on the CPU.
        n: how many, at least 1.
        seed: of the draws.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return np.concatenate([pixels(model.sample(min(AT_ONCE, n - done))) for done in range(0, n, AT_ONCE)])


def tiled(images: Pixels) -> Pixels:
    """Images as tiles of a square picture, or nearly, with white where the last row ends early: [height, width, 3]."""
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    blank = np.full((rows * columns - len(images), *images.shape[1:]), 255, np.uint8)
    picture = sheet(np.concatenate([images, blank]).reshape(rows, columns, *images.shape[1:]))
    times = max(1, WIDTH // picture.shape[1])
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def write(images: Pixels, path: Path) -> None:
    """Writes their picture whole, as PNG."""
    picture = Image.fromarray(tiled(images))
    write_whole(path, lambda temporary: picture.save(temporary, format="png"))
