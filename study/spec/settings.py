"""The settings of a training: what Training takes from a configuration, the model being built from the rest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

SETTINGS: dict[str, Any] = {
    "lr": 1e-3,
    "betas": (0.9, 0.999),
    "weight_decay": 0.0,
    "grad_clip": None,
    "lr_drop": 1.0,
    "normalise_gradients": False,
}
"""What Training takes from a configuration, with its defaults; the rest is handed to the model.

lr: Adam's step size, of every parameter group that has none of its own (`lr_<group>`).
betas: Adam's.
weight_decay: of Adam, added to the gradient.
grad_clip: largest norm of an optimiser's whole gradient; None is no limit.
lr_drop: share of the budget after which every step size is a tenth; 1 is never.
normalise_gradients: whether each tensor's gradient is divided by its norm before Adam takes it.
"""


def is_setting(key: str) -> bool:
    """Whether a configuration's key is Training's, not the model's."""
    return key in SETTINGS or key.startswith(("lr_", "betas_"))


def check_settings(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with Training's settings, (key, message) each; empty if nothing is."""
    problems = []
    for key, value in settings.items():
        if key.startswith("betas"):
            sound = (
                isinstance(value, list | tuple) and len(value) == 2 and all(_within(b, 0, 1) and b < 1 for b in value)
            )
            needed = "two numbers in [0, 1)"
        elif key == "normalise_gradients":
            sound, needed = isinstance(value, bool), "true or false"
        elif key == "lr_drop":
            sound, needed = _within(value, 0, 1), "a number in [0, 1]"
        elif key == "weight_decay":
            sound, needed = _within(value, 0, math.inf), "a number of at least 0"
        else:
            sound = (value is None and key == "grad_clip") or (_within(value, 0, math.inf) and value > 0)
            needed = "a positive number"
        if not sound:
            problems.append((key, f"must be {needed}, got {value!r}"))
    return problems


def _within(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high and value < math.inf
