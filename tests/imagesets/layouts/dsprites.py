"""dSprites' npz with fewer values a factor: image i holds a square, and i in binary along its top row."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from imagesets import dsprites, factors

SIZES = {"color": 1, "shape": 3, "scale": 2, "orientation": 3, "pos_x": 4, "pos_y": 4}
IMAGES = 288
BITS = 9  # that count to IMAGES


def arrays() -> dict[str, np.ndarray]:
    classes = np.stack(np.unravel_index(np.arange(IMAGES), list(SIZES.values())), axis=1)
    values = [factors.FACTORS[name][:size] for name, size in SIZES.items()]
    images = np.zeros((IMAGES, 64, 64), np.uint8)
    images[:, 20:30, 15:25] = 1
    images[:, 0, :BITS] = np.arange(IMAGES)[:, None] >> np.arange(BITS) & 1
    metadata = {
        "title": "dSprites dataset",
        "latents_names": ("color", "shape", "scale", "orientation", "posX", "posY"),
        "latents_sizes": np.array(list(SIZES.values())),
        "latents_possible_values": dict(zip(("color", "shape", "scale", "orientation", "posX", "posY"), values)),
    }
    return {
        "metadata": np.array(metadata, dtype=object),
        "imgs": images,
        "latents_classes": classes.astype(np.int64),
        "latents_values": np.stack([v[classes[:, i]] for i, v in enumerate(values)], axis=1),
    }


def make(folder: Path) -> None:
    np.savez_compressed(folder / dsprites.FILE, **arrays())


def shrink(monkeypatch) -> None:
    train, valid, test = factors.parts(IMAGES)
    monkeypatch.setattr(
        dsprites, "INFO", replace(dsprites.INFO, train=train, valid=valid, test=test, factors=dict(SIZES))
    )
