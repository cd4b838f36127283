"""Search space of FactorVAE: Kim & Mnih (2018), as disentanglement_lib and YannDubs/disentangling-vae have it.

The batch size is the budget's and not drawn, see `study.spec.Budget`; 64 everywhere.
"""

from __future__ import annotations

from typing import Any

from searchspaces import Trial

DEFAULTS: dict[str, Any] = {
    "latent": 10,  # disentanglement_lib
    "gamma": 10.0,  # the least of disentanglement_lib's grid, 10 to 100; YannDubs about 35 for dSprites, 6.4 for CelebA
    "lr": 1e-4,  # disentanglement_lib
    "lr_discriminator": 1e-4,  # there, and YannDubs for dSprites; 1e-5 for CelebA
}


def space(trial: Trial) -> dict[str, Any]:
    """Draws a FactorVAE's configuration; the discriminator's Adam has betas of its own, see `models.factor`."""
    return {
        "latent": trial.suggest_int("latent", 6, 20),
        "gamma": trial.suggest_float("gamma", 1.0, 100.0, log=True),
        "lr": trial.suggest_float("lr", 3e-5, 1e-3, log=True),
        "lr_discriminator": trial.suggest_float("lr_discriminator", 1e-5, 3e-4, log=True),
    }
