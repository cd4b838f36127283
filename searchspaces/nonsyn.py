"""Search space of the Non-Synergistic VAE: Barrientos & Sootla (2018), and their code, Gonzalob90/non-synergistic-vae.

The batch size is the budget's and not drawn, see `study.spec.Budget`; 64 everywhere.
"""

from __future__ import annotations

from typing import Any

from searchspaces import Trial

DEFAULTS: dict[str, Any] = {
    "latent": 10,  # run.py, also for CelebA
    "alpha": 5.0,  # README and all scripts; run.py 1.5, a comment there "2-4"
    "alpha_warmup": 0.0,  # none there; a flag of 7,000 steps that nothing reads
    "policy": "sorted",  # ours: theirs, legacy_order, depends on how the latents are numbered
    "omega": 0.9,  # README and all scripts; run.py 0.8
    "top_m": 5,  # ours, an ablation: dSprites has five factors
    "update": "joint",  # ours: one sound update of the same loss; theirs has two
    "fc_act": "relu",  # ours; none in their network for dSprites, which its presets pin
    "lr": 1e-4,  # run.py
}


def space(trial: Trial) -> dict[str, Any]:
    """Draws a Non-Synergistic VAE's configuration."""
    drawn: dict[str, Any] = {
        "latent": trial.suggest_int("latent", 6, 20),
        "alpha": trial.suggest_float("alpha", 0.5, 20.0, log=True),  # beta-VAE's 16 is 15 here
        "alpha_warmup": trial.suggest_float("alpha_warmup", 0.0, 0.3),  # 20,000 of 150,000 steps are 0.13
        "policy": trial.suggest_categorical("policy", ["sorted", "legacy_order", "per_sample", "top_m"]),
        "update": trial.suggest_categorical("update", ["joint", "two_step", "two_step_sample"]),
        "fc_act": trial.suggest_categorical("fc_act", ["none", "relu"]),
        "lr": trial.suggest_float("lr", 3e-5, 1e-3, log=True),  # 5e-4 in YannDubs/disentangling-vae
    }
    if drawn["policy"] == "top_m":
        drawn["top_m"] = trial.suggest_int("top_m", 1, 10)
    else:
        drawn["omega"] = trial.suggest_float("omega", 0.5, 0.98)  # room for 1 to 49 equal latents in A
    return {**DEFAULTS, **drawn}
