"""Search space of the losses of `models.disentangled`: their grids in Locatello et al. (2019), disentanglement_lib.

The batch size is the budget's and not drawn, see `study.spec.Budget`; 64 there.
"""

from __future__ import annotations

from typing import Any

from searchspaces import Trial

DEFAULTS: dict[str, Any] = {
    "latent": 10,  # disentanglement_lib
    "penalty": "total_correlation",  # the one of them that is most compared with
    "beta_tc": 6.0,  # Chen et al.'s own example on dSprites; a grid of 1 to 10 in disentanglement_lib
    "off_diagonal": 10.0,  # of a grid of 1 to 50 there
    "capacity": 25.0,  # YannDubs/disentangling-vae for dSprites, 50 for CelebA; a grid of 5 to 100 there
    "capacity_ramp": 0.33,  # there: 100,000 of 300,000 steps
    "capacity_weight": 1000.0,  # there
    "lr": 1e-4,  # there
}


def space(trial: Trial) -> dict[str, Any]:
    """Draws a penalty, and what it reads; the rest keeps its default."""
    drawn: dict[str, Any] = {
        "latent": trial.suggest_int("latent", 6, 20),
        "penalty": trial.suggest_categorical("penalty", ["total_correlation", "dip_i", "dip_ii", "capacity"]),
        "lr": trial.suggest_float("lr", 3e-5, 1e-3, log=True),
    }
    if drawn["penalty"] == "total_correlation":
        drawn["beta_tc"] = trial.suggest_float("beta_tc", 1.0, 40.0, log=True)  # 36 in YannDubs
    elif drawn["penalty"] == "capacity":
        drawn["capacity"] = trial.suggest_float("capacity", 5.0, 100.0, log=True)
        drawn["capacity_ramp"] = trial.suggest_float("capacity_ramp", 0.1, 1.0)
        drawn["capacity_weight"] = trial.suggest_float("capacity_weight", 100.0, 1000.0, log=True)
    else:
        drawn["off_diagonal"] = trial.suggest_float("off_diagonal", 1.0, 50.0, log=True)
    return {**DEFAULTS, **drawn}
