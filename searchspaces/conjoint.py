"""Search space of the conjoint autoencoders, which have no paper: the values are those of the code that defines them,
gdikov/vae-playground, for its synthetic pairs where these and its digits differ.

The kind, `posterior`, is pinned and not drawn: the two have no number of one kind to be compared on but the likelihood.
What only the adversarial kind has, a preset's own `space` draws, as conjoint-points-adversarial does.
"""

from __future__ import annotations

from typing import Any

from searchspaces import Trial

DEFAULTS: dict[str, Any] = {
    "latent": 2,  # zs, in all its experiments
    "private": 2,  # z1 and z2, likewise
    "kl_warmup": 0.0,  # none
    "lr": 1e-3,  # 7e-4 for the digits, 1e-4 with the adversarial kind
}


def space(trial: Trial) -> dict[str, Any]:
    """Draws a conjoint autoencoder's configuration, of either kind."""
    return {
        "latent": trial.suggest_int("latent", 2, 16, log=True),
        "private": trial.suggest_int("private", 1, 8, log=True),
        "kl_warmup": trial.suggest_float("kl_warmup", 0.0, 0.3),
        "lr": trial.suggest_float("lr", 1e-4, 3e-3, log=True),
    }
