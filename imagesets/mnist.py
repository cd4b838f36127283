"""MNIST, LeCun, Cortes & Burges (1998): idx files as torchvision lays them out, downloaded when they are missing."""

from pathlib import Path

from imagesets import idx
from imagesets.base import Info, Splits
from imagesets.vision import torchvision

INFO = Info(
    name="mnist",
    image_shape=(1, 28, 28),
    train=50_000,
    valid=10_000,
    test=10_000,
    description="handwritten digits in grey; valid is drawn from MNIST's 60,000 training images, test is MNIST's own",
    files="MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte, downloaded when missing (12 MB)",
    sources=tuple(f"MNIST/raw/{name}" for name in idx.SHAPES),
    stand_in="mnist5k",
)


def load(root: Path) -> Splits:
    """Splits of the four files in MNIST/raw under `root`, see `idx.load`."""
    return idx.load(INFO, root, lambda folder: torchvision().datasets.MNIST(folder, download=True))
