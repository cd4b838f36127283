"""What the model tests share: one thread, a fixed seed, structured images, and the authors' own numbers."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The networks here are tiny: a second thread costs more than it brings, and changes the last digits of sums."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def seed() -> None:
    """Every test draws the same numbers, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def float64() -> Iterator[None]:
    """Double precision for what a test builds itself."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, Any]]:
    """Reads an archive of tests/golden: numbers as float64 tensors, texts as str."""

    def read(name: str) -> dict[str, Any]:
        with np.load(GOLDEN / f"{name}.npz") as archive:
            values = {key: archive[key] for key in archive.files}
        return {
            key: str(value) if value.dtype.kind == "U" else torch.as_tensor(value, dtype=torch.float64)
            for key, value in values.items()
        }

    return read


@pytest.fixture(scope="session")
def blobs() -> Callable[..., Tensor]:
    """Draws n grey images of one Gaussian blob each, [n, C, H, W] in [0, 1], float32; always the same ones.

    A pair, [2, C, H, W], is an image and the next one.
    """

    def draw(n: int, image_shape: tuple[int, ...] = (1, 8, 8)) -> Tensor:
        if len(image_shape) == 4:
            single = draw(n, image_shape[1:])
            return torch.stack([single, single.roll(-1, 0)], 1)
        channels, height, width = image_shape
        generator = torch.Generator().manual_seed(1)
        centre = torch.rand(n, 2, 1, 1, generator=generator)
        rows, columns = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)
        distance = (rows - centre[:, 0]) ** 2 + (columns - centre[:, 1]) ** 2
        return (-distance / 0.08).exp()[:, None].repeat(1, channels, 1, 1)

    return draw
