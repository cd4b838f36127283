"""Fashion-MNIST, Xiao, Rasul & Vollgraf (2017): idx files as torchvision lays them out, downloaded when missing."""

from pathlib import Path

from imagesets import idx
from imagesets.base import Info, Splits
from imagesets.vision import torchvision

INFO = Info(
    name="fashion_mnist",
    image_shape=(1, 28, 28),
    train=50_000,
    valid=10_000,
    test=10_000,
    description="articles of clothing in grey; valid is drawn from the 60,000 training images, test is the set's own",
    files="FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte, downloaded when missing (31 MB)",
    sources=tuple(f"FashionMNIST/raw/{name}" for name in idx.SHAPES),
    stand_in="mnist5k",
)


def load(root: Path) -> Splits:
    """Splits of the four files in FashionMNIST/raw under `root`, see `idx.load`."""
    return idx.load(INFO, root, lambda folder: torchvision().datasets.FashionMNIST(folder, download=True))
