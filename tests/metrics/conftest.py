"""What the tests of the metrics share: the archives, and codes about which the answer is known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

GOLDEN = Path(__file__).parents[1] / "golden"
DSPRITES = (3, 6, 40, 32, 32)  # classes of its five factors


@pytest.fixture(scope="session")
def archive() -> Callable[[str], dict[str, Any]]:
    """Reads an archive of tests/golden, as it is."""

    def read(name: str) -> dict[str, Any]:
        with np.load(GOLDEN / f"{name}.npz") as found:
            return {key: found[key] for key in found.files}

    return read


class Drawn(NamedTuple):
    """Codes of a kind, and the factors of the same rows."""

    codes: NDArray[Any]
    factors: NDArray[np.int64]


def standard(factors: NDArray[np.int64], sizes: tuple[int, ...]) -> NDArray[np.float64]:
    """Factors with mean 0 and variance 1 over the whole grid."""
    classes = np.array(sizes)
    return (factors - (classes - 1) / 2) / np.sqrt((classes**2 - 1) / 12)


@pytest.fixture(scope="session")
def drawn() -> Callable[..., Drawn]:
    """Draws n rows of the grid of factors, and codes that are perfect, useless, duplicated or mixed."""

    def draw(kind: str, n: int, seed: int = 0, sizes: tuple[int, ...] = (3, 4, 5)) -> Drawn:
        random = np.random.default_rng(seed)
        factors = random.integers(0, sizes, (n, len(sizes)))
        s = standard(factors, sizes)
        mixture = np.random.default_rng(1).normal(size=(len(sizes), 2 * len(sizes)))  # the same in train and test
        codes = {
            "perfect": lambda: s,
            "useless": lambda: random.normal(size=s.shape),
            "duplicated": lambda: np.concatenate([s, s], axis=1),
            "mixed": lambda: s @ mixture,
        }
        return Drawn(codes[kind](), factors)

    return draw
