"""What is known of a metric beside its value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple


class Score(NamedTuple):
    """A metric. Each file of this folder that has some lists them as `SCORES`."""

    name: str  # as in `metrics.NAME`, and of a column
    function: Callable[..., Any]
    version: int  # goes up with every change that moves a value; two versions never stand in one column
    range: tuple[float, float]  # of the values by definition
    better: Literal["more", "less"]
    needs: tuple[Literal["codes", "factors", "labels", "weights", "kl"], ...]  # what is given, in this order
    seconds: float  # of a core, for 10,000 codes of 10 latents and dSprites' factors, or 5,000 draws of 100 images
    numbers: tuple[str, ...] = ()  # the names of what it returns, where that is several numbers
    stochastic: bool = False  # takes a generator, which moves the value
