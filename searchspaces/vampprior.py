"""Search space of the VAE with a VampPrior: Tomczak & Welling (2018), their code, jmtomczak/vae_vampprior, and its
replication with convolutions, mk017/VAE-VampPrior-tf2.

The widths of the fully connected layers are not drawn: they would have to be the same for both priors. Nor is
`normalise_gradients`, which the authors have and the replication has not: the presets say it.
"""

from __future__ import annotations

from typing import Any

from searchspaces import Trial

COMMON: dict[str, Any] = {
    "prior": "vamp",  # the paper's
    "pseudo_inputs": 500,  # both codes
    "pseudo_start": "random",  # the authors'; the replication starts from data
    "pseudo_activation": "clamp",  # the authors'; the replication has a hard sigmoid
    "pseudo_trainable": True,  # both
    "log_var_clip": "narrow",  # both: [-6, 2]
    "network": "mlp",  # ours, as of every model here; the authors' is `gated`, the replication's `vamp_conv`
    "network_size": 4.0,  # the replication's default; its figures have 16
    "activation": "relu",  # there
    "kl_warmup": 0.05,  # the authors': 100 of at most 2,000 epochs; none in the replication
    "lr": 5e-4,  # the authors'; 1e-4 in the replication
    "lr_pseudo_inputs": 5e-4,  # both: that of the rest
}
"""What one level and two have in common."""

DEFAULTS: dict[str, Any] = {
    "latent": 40,  # the authors'; 2 in the replication
    **COMMON,
}


def space(trial: Trial) -> dict[str, Any]:
    """Draws the configuration of a VAE with a VampPrior, or with the standard prior."""
    return {"latent": trial.suggest_int("latent", 2, 64, log=True), **common(trial)}


def common(trial: Trial) -> dict[str, Any]:
    """Draws what one level and two have in common; what belongs to a prior or a network is drawn with it only."""
    drawn: dict[str, Any] = {
        "prior": trial.suggest_categorical("prior", ["vamp", "standard"]),
        "network": trial.suggest_categorical("network", ["mlp", "gated", "vamp_conv"]),
        "log_var_clip": trial.suggest_categorical("log_var_clip", ["narrow", "wide", "none"]),
        "kl_warmup": trial.suggest_float("kl_warmup", 0.0, 0.3),
        "lr": trial.suggest_float("lr", 1e-4, 2e-3, log=True),
    }
    if drawn["prior"] == "vamp":
        drawn |= {
            "pseudo_inputs": trial.suggest_int("pseudo_inputs", 10, 1000, log=True),
            "pseudo_start": trial.suggest_categorical("pseudo_start", ["random", "data"]),
            "pseudo_activation": trial.suggest_categorical("pseudo_activation", ["clamp", "hard_sigmoid", "sigmoid"]),
            # A tenth of lr to ten times lr.
            "lr_pseudo_inputs": trial.suggest_float("lr_pseudo_inputs", 1e-5, 2e-2, log=True),
        }
        if drawn["pseudo_start"] == "data":  # from random images nothing else makes sense than to learn
            drawn["pseudo_trainable"] = trial.suggest_categorical("pseudo_trainable", [True, False])
    if drawn["network"] == "vamp_conv":
        drawn |= {
            "network_size": trial.suggest_float("network_size", 1.0, 8.0, log=True),  # 16 takes a GPU
            "activation": trial.suggest_categorical("activation", ["relu", "elu"]),
        }
    return {**COMMON, **drawn}
