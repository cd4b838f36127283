"""Search space of the VAE with inverse autoregressive flow: Kingma et al. (2016), as Park, Kim & Kim (2019) have it.

The sizes of both networks are not drawn: they would have to be the same for all posteriors that are compared.
"""

from __future__ import annotations

from typing import Any

from searchspaces import Trial

DEFAULTS: dict[str, Any] = {
    "latent": 50,  # Park et al. (2019), run.py
    "flows": 4,  # there
    "flow_hidden": 500,  # there
    "context": True,  # ours: there every weight from the context is masked
    "gate_bias": 2.0,  # there
    "kl_warmup": 0.0,  # none there
    "lr": 5e-4,  # there
    "grad_clip": None,  # none there
}


def space(trial: Trial) -> dict[str, Any]:
    """Draws an autoregressive flow's configuration."""
    return {
        "latent": trial.suggest_int("latent", 8, 64, log=True),
        "flows": trial.suggest_int("flows", 1, 8, log=True),
        "flow_hidden": trial.suggest_int("flow_hidden", 100, 1000, log=True),
        "context": trial.suggest_categorical("context", [True, False]),
        "gate_bias": trial.suggest_float("gate_bias", 0.0, 4.0),
        "kl_warmup": trial.suggest_float("kl_warmup", 0.0, 0.3),
        "lr": trial.suggest_float("lr", 1e-4, 2e-3, log=True),
        "grad_clip": trial.suggest_categorical("grad_clip", [None, 5.0, 20.0]),
    }
