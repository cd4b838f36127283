"""Search space of the two-level VAE: Tomczak & Welling (2018), as `searchspaces.vampprior` has it for one level."""

from __future__ import annotations

from typing import Any

from searchspaces import Trial
from searchspaces.vampprior import COMMON, common

DEFAULTS: dict[str, Any] = {
    "latent": 80,  # the authors': 40 and 40; 2 in the replication, 1 and 1
    "top": 0.5,  # both codes
    "free_bits": 0.0,  # none in either
    **COMMON,
}


def space(trial: Trial) -> dict[str, Any]:
    """Draws a two-level VAE's configuration, with either prior on top."""
    return {
        "latent": trial.suggest_int("latent", 2, 128, log=True),
        "top": trial.suggest_float("top", 0.1, 0.9),
        "free_bits": trial.suggest_float("free_bits", 0.0, 0.2),  # of each coordinate of z1
        **common(trial),
    }
