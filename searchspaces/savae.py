"""Search space of the semi-amortised VAE: Kim et al. (2018), in the comparison of Park, Kim & Kim (2019).

The sizes of both networks are not drawn: they would have to be the same for all posteriors that are compared.
"""

from __future__ import annotations

from typing import Any

from searchspaces import Trial

DEFAULTS: dict[str, Any] = {
    "latent": 50,  # Park et al. (2019), run.py
    "svi_steps": 4,  # Park et al.; Kim et al. take 20
    "svi_rate": 0.02,  # Kim et al.: 1 for the mean over a batch of 50; 5e-4 in Park et al., with the wrong sign
    "svi_clip": 5.0,  # both
    "second_order": True,  # both, Kim et al. by finite differences
    "kl_warmup": 0.0,  # none there
    "lr": 5e-4,  # there
    "grad_clip": None,  # none there
}


def space(trial: Trial) -> dict[str, Any]:
    """Draws a semi-amortised VAE's configuration."""
    return {
        "latent": trial.suggest_int("latent", 8, 64, log=True),
        "svi_steps": trial.suggest_int("svi_steps", 1, 20, log=True),
        "svi_rate": trial.suggest_float("svi_rate", 1e-3, 0.3, log=True),
        "svi_clip": trial.suggest_categorical("svi_clip", [1.0, 5.0, None]),
        "second_order": trial.suggest_categorical("second_order", [True, False]),
        "kl_warmup": trial.suggest_float("kl_warmup", 0.0, 0.3),
        "lr": trial.suggest_float("lr", 1e-4, 2e-3, log=True),
        "grad_clip": trial.suggest_categorical("grad_clip", [None, 5.0, 20.0]),
    }
