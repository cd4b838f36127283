"""CelebA's folder of aligned JPEGs and its two lists, with 6 images for training, 3 for validation and 4 for test."""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from imagesets import celeba

PARTITION = (0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2)
HEADER = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair "
    "Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male "
    "Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks "
    "Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace "
    "Wearing_Necktie Young "
)


def names() -> list[str]:
    return [f"{number:06}.jpg" for number in range(1, len(PARTITION) + 1)]


def signs() -> np.ndarray:
    """The attributes as the list has them, -1 and 1."""
    return np.random.default_rng(3).choice([-1, 1], (len(PARTITION), 40))


def make(folder: Path) -> None:
    """Image i is of its own colour at the top left, darker to the right and down."""
    images = folder / "celeba" / "img_align_celeba"
    images.mkdir(parents=True)
    colours = np.random.default_rng(4).uniform(120, 255, (len(PARTITION), 3))
    row, column = np.ogrid[:218, :178]
    fade = 1 - row / 436 - column / 356
    for name, colour in zip(names(), colours):
        Image.fromarray((fade[..., None] * colour).astype(np.uint8)).save(images / name, quality=95)
    partition = "".join(f"{name} {part}\n" for name, part in zip(names(), PARTITION))
    (folder / "celeba" / "list_eval_partition.txt").write_text(partition)
    rows = "".join(f"{name} {' '.join(f'{sign:2}' for sign in row)}\n" for name, row in zip(names(), signs()))
    (folder / "celeba" / "list_attr_celeba.txt").write_text(f"{len(PARTITION)}\n{HEADER}\n{rows}")


def shrink(monkeypatch) -> None:
    monkeypatch.setattr(celeba, "INFO", dataclasses.replace(celeba.INFO, train=6, valid=3, test=4))
