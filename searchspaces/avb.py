"""Search space of Adversarial Variational Bayes: Mescheder et al. (2017), as their code, LMescheder/
AdversarialVariationalBayes (2017), and gdikov/adversarial-variational-bayes with its successor vae-playground have it.

Both take Adam with a first beta of 0.5, which presets pin. The batch size is the budget's and not drawn: 128 for the
authors' digits, 64 for gdikov's, 400 for its points.
"""

from __future__ import annotations

from typing import Any

from searchspaces import Trial

DEFAULTS: dict[str, Any] = {
    "latent": 8,  # both, on MNIST; the authors have 32 too
    "adaptive_contrast": True,  # what both go on with; without it there is no telling apart where q is narrow
    "noise": 16,  # gdikov, on MNIST; the authors have 32
    "noises": 32,  # gdikov, on MNIST; the authors have 16 or 32, gdikov's points 8
    "discriminator_steps": 1,  # both, on MNIST; the authors' toy has 2, gdikov's pairs 3
    "kl_warmup": 0.0,  # none in either
    "lr": 1e-4,  # gdikov, on MNIST with adaptive contrast; the authors 5e-5
    "lr_discriminator": 2e-4,  # as much more as both give it: 2e-4 of gdikov's 1e-4, 1e-4 of the authors' 5e-5
}


def space(trial: Trial) -> dict[str, Any]:
    """Draws an AVB's configuration; `noises` is of adaptive contrast."""
    drawn: dict[str, Any] = {
        "latent": trial.suggest_int("latent", 2, 32, log=True),  # 2 to look at, 32 as the authors' largest
        "adaptive_contrast": trial.suggest_categorical("adaptive_contrast", [True, False]),
        "noise": trial.suggest_int("noise", 4, 64, log=True),  # gdikov's points have 4, the authors' toy 64
        "discriminator_steps": trial.suggest_int("discriminator_steps", 1, 5),
        "kl_warmup": trial.suggest_float("kl_warmup", 0.0, 0.1),  # T has something to learn from at once
        "lr": trial.suggest_float("lr", 1e-5, 1e-3, log=True),
        "lr_discriminator": trial.suggest_float("lr_discriminator", 1e-5, 2e-3, log=True),
    }
    if drawn["adaptive_contrast"]:
        drawn["noises"] = trial.suggest_int("noises", 8, 32, log=True)
    return {**DEFAULTS, **drawn}
