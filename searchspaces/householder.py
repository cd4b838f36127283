"""Search space of the VAE with a Householder flow: Tomczak & Welling (2016), as Park, Kim & Kim (2019) have it.

The sizes of both networks are not drawn: they would have to be the same for all posteriors that are compared.
"""

from __future__ import annotations

from typing import Any

from searchspaces import Trial

DEFAULTS: dict[str, Any] = {
    "latent": 50,  # Park et al. (2019), run.py
    "flows": 4,  # there
    "kl_warmup": 0.0,  # none there
    "lr": 5e-4,  # there
    "grad_clip": None,  # none there
}


def space(trial: Trial) -> dict[str, Any]:
    """Draws a Householder flow's configuration."""
    return {
        "latent": trial.suggest_int("latent", 8, 64, log=True),
        "flows": trial.suggest_int("flows", 1, 16, log=True),
        "kl_warmup": trial.suggest_float("kl_warmup", 0.0, 0.3),
        "lr": trial.suggest_float("lr", 1e-4, 2e-3, log=True),
        "grad_clip": trial.suggest_categorical("grad_clip", [None, 5.0, 20.0]),
    }
