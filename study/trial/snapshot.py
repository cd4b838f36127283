"""A small picture of what a model does: eight fixed images, their reconstructions, and a traversal of the code."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.base import VAE
from study.trial.evaluation import evaluating
from study.trial.files import write_whole
from study.trial.images import Images

IMAGES = 8  # of the validation set, the first ones
ROWS, FRAMES = 6, 8  # of the traversal: coordinates, values
READ = 256  # validation images that say which coordinates vary, and how far

Pixels = NDArray[np.uint8]


def take(model: VAE, images: Images) -> dict[str, NDArray]:
    """Looks at a model.

    The traversal starts at the first image's code and moves one coordinate at a time, those that vary most over the
    images, from the smallest to the largest value that they take there.

    Args:
        model: on the images' device.
        images: of one split.

    Returns:
        originals and reconstructions, uint8 [8, C, H, W], or [8, 2, C, H, W] of pairs; traversal, uint8
        [R, F, C, H, W], or with pairs; coordinates, [R]; values, [R, F]; codes of the eight images, [8, Z].
    """
    with evaluating(model, images):
        return _taken(model, next(images.batches(READ)))


def _taken(model: VAE, x: Tensor) -> dict[str, NDArray]:
    codes = model.codes(x)
    coordinates = codes.var(0, correction=0).argsort(descending=True)[:ROWS]
    low, high = codes.amin(0)[coordinates], codes.amax(0)[coordinates]
    values = low[:, None] + (high - low)[:, None] * torch.linspace(0, 1, FRAMES, device=codes.device)  # [R, F]
    moved = codes[0].expand(len(coordinates), FRAMES, -1).clone()
    moved[torch.arange(len(coordinates), device=codes.device), :, coordinates] = values
    return {
        "originals": pixels(x[:IMAGES]),
        "reconstructions": pixels(model.reconstruct(x[:IMAGES])),
        "traversal": pixels(model.likelihood(moved).mean.clamp(0, 1)),
        "coordinates": coordinates.cpu().numpy(),
        "values": values.cpu().numpy(),
        "codes": codes[:IMAGES].cpu().numpy(),
    }


def pixels(x: Tensor) -> Pixels:
    """Images in [0, 1] as bytes, rounded to the nearest; of any shape."""
    return (x * 255).round().to(torch.uint8).cpu().numpy()


def save(seen: dict[str, NDArray], stem: Path) -> None:
    """Writes a snapshot as `stem`.npz and `stem`.png."""
    write_whole(stem.with_suffix(".npz"), lambda path: _savez(path, seen))
    parts = [reconstruction_sheet(seen), traversal_sheet(seen)]
    width = max(part.shape[1] for part in parts)  # of a few images only, the first is the narrower one
    picture = np.concatenate(
        [np.pad(part, ((0, 0), (0, width - part.shape[1]), (0, 0)), constant_values=255) for part in parts]
    )
    write_whole(stem.with_suffix(".png"), lambda path: path.write_bytes(png(picture)))


def png(picture: Pixels) -> bytes:
    """A picture [height, width, 3] as a PNG file, a grey one as such: of small ones the quickest compression is as good
    as any.
    """
    content, grey = io.BytesIO(), bool((picture == picture[..., :1]).all())
    Image.fromarray(picture[..., 0] if grey else picture).save(content, format="png", compress_level=1)
    return content.getvalue()


def _savez(path: Path, seen: dict[str, NDArray]) -> None:
    """NumPy's own `savez_compressed` takes twice the time, for a file that is a tenth smaller."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in seen.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def reconstruction_sheet(seen: dict[str, NDArray]) -> Pixels:
    """Originals above their reconstructions, [height, width, 3]."""
    return sheet(np.stack([seen["originals"], seen["reconstructions"]]))


def traversal_sheet(seen: dict[str, NDArray]) -> Pixels:
    """One coordinate a row, its value growing to the right, [height, width, 3]."""
    return sheet(seen["traversal"])


def sheet(tiles: Pixels, gap: int = 1) -> Pixels:
    """Images as tiles on white; a pair is one tile, its images side by side.

    Args:
        tiles: [rows, columns, C, H, W], or [rows, columns, 2, C, H, W]; where C is neither 1 nor 3, a tile shows each
            channel in grey, side by side.
        gap: pixels between tiles.

    Returns:
        [rows * (H + gap) + gap, columns * (width + gap) + gap, 3], where width is W, as often as there are such.
    """
    if tiles.ndim == 6:
        tiles = np.concatenate([tiles[:, :, 0], tiles[:, :, 1]], axis=-1)
    if tiles.shape[2] not in (1, 3):
        tiles = np.concatenate(np.split(tiles, tiles.shape[2], axis=2), axis=-1)
    rows, columns, channels, height, width = tiles.shape
    canvas = np.full((rows, columns, channels, height + gap, width + gap), 255, np.uint8)
    canvas[..., gap:, gap:] = tiles
    flat = canvas.transpose(0, 3, 1, 4, 2).reshape(rows * (height + gap), columns * (width + gap), channels)
    flat = np.pad(flat, ((0, gap), (0, gap), (0, 0)), constant_values=255)
    return np.repeat(flat, 3, axis=2) if channels == 1 else flat
