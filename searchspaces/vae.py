"""Search space of the VAE: Kingma & Welling (2014), with the KL weight of Higgins et al. (2017)."""

from __future__ import annotations

from typing import Any

from optuna.trial import BaseTrial

DEFAULTS: dict[str, Any] = {
    "latent": 20,  # Kingma & Welling, Figure 2: 3 to 200 on MNIST; 20 is among their best
    "hidden": 500,  # their Section 5: 500 hidden units on MNIST
    "beta": 1.0,  # the ELBO itself
    "kl_warmup": 0.0,  # none in the paper
    "lr": 1e-3,  # Adam's own; the paper used Adagrad at 0.01 to 0.1
}


def space(trial: BaseTrial) -> dict[str, Any]:
    """Draws a VAE's configuration."""
    return {
        "latent": trial.suggest_int("latent", 2, 200, log=True),
        "hidden": trial.suggest_int("hidden", 100, 1000, log=True),
        "beta": trial.suggest_float("beta", 0.25, 4.0, log=True),  # trials are compared at 1
        "kl_warmup": trial.suggest_float("kl_warmup", 0.0, 0.3),
        "lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True),
    }
