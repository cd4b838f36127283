"""The domains of hyperparameters, as types: a model's `build` names them in its signature and is checked against them.

A domain is what the mathematics allows; the narrower range worth searching is the search space's affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

Count = Annotated[int, Field(ge=1, le=10**9)]
"""Of units side by side; of more, the size of a layer would not fit 64 bits."""
Whole = Annotated[int, Field(ge=0, le=1000)]
"""Of layers or steps one after the other, each of which takes its time."""
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(gt=0, lt=1)]
Margin = Annotated[float, Field(gt=0, lt=0.5)]
"""Open intervals: at 0 or 1 a KL divergence or a logit is infinite."""


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Widths = Annotated[Count | Annotated[tuple[Count, ...], Field(max_length=1000)], BeforeValidator(_as_tuple)]
"""Widths of the hidden layers, input side first; a number is one layer, () is none."""

Network = Literal["mlp", "conv", "gated", "vamp_conv", "dsprites", "celeba"]
Activation = Literal["relu", "elu", "silu", "tanh"]
Init = Literal["torch", "vlae", "glorot", "he"]
LikelihoodName = Literal["bernoulli", "gaussian", "logistic"]
Sigma = Positive | Literal["learned", "per_pixel"]
Edges = Literal["open", "closed"]

Shape = tuple[int, ...]
"""[C, H, W] of one image; [2, C, H, W] of a pair."""


def widths(hidden: int | Sequence[int]) -> tuple[int, ...]:
    """`Widths` as a tuple, one width a layer."""
    return (hidden,) if isinstance(hidden, int) else tuple(hidden)
