"""Search space of the variational Laplace autoencoder: Park, Kim & Kim (2019), and their code, yookoon/VLAE.

The sizes of both networks are not drawn: they would have to be the same for all posteriors that are compared.
"""

from __future__ import annotations

from typing import Any

from searchspaces import Trial

DEFAULTS: dict[str, Any] = {
    "latent": 50,  # run.py
    "updates": 4,  # their code's; 1, 2, 4 and 8 in their figures
    "update_rate": 0.5,  # their code's, with the harmonic schedule
    "damping": "harmonic",  # the final release; the first one had geometric, with a rate of 1
    "kl_warmup": 0.0,  # none there
    "lr": 5e-4,  # there
    "grad_clip": None,  # none there
}


def space(trial: Trial) -> dict[str, Any]:
    """Draws a Laplace autoencoder's configuration."""
    return {
        "latent": trial.suggest_int("latent", 8, 64, log=True),
        "updates": trial.suggest_int("updates", 1, 8, log=True),
        "update_rate": trial.suggest_float("update_rate", 0.3, 1.0),
        "damping": trial.suggest_categorical("damping", ["harmonic", "geometric", "constant"]),
        "kl_warmup": trial.suggest_float("kl_warmup", 0.0, 0.3),
        "lr": trial.suggest_float("lr", 1e-4, 2e-3, log=True),
        "grad_clip": trial.suggest_categorical("grad_clip", [None, 5.0, 20.0]),
    }
