"""Search space of the VAE: Kingma & Welling (2014), with the KL weight of Higgins et al. (2017), and over the
posteriors and priors of the other papers. What a part needs is drawn where the part is, as the part says; elsewhere it
keeps its default.
"""

from __future__ import annotations

from typing import Any

import models
from searchspaces import Trial, asked_for, pins

VAE: Any = models.described("vae")
posteriors, priors = VAE.posteriors(), VAE.priors()

DEFAULTS: dict[str, Any] = {
    "latent": 20,  # Kingma & Welling, Figure 2: 3 to 200 on MNIST; 20 is among their best
    "hidden": 500,  # their Section 5: 500 hidden units on MNIST
    "beta": 1.0,  # the ELBO itself
    "kl_warmup": 0.0,  # none in the paper
    "lr": 1e-3,  # Adam's own; the paper used Adagrad at 0.01 to 0.1
    "posterior": "gaussian",  # the paper's
    "prior": "standard",  # the paper's
    **{  # those of the parts, where they have their sources
        name: VAE.settings().get(name, (None, 1e-3))[1]  # a rate of its own begins as the others'
        for part in (*posteriors.values(), *priors.values())
        for name in asked_for(part.draw)
    },
}


def space(trial: Trial) -> dict[str, Any]:
    """Draws a VAE's configuration; only pairs of posterior and prior that go together, and with what is pinned."""
    pinned, go_with = pins(trial).get("prior"), VAE.pairs()
    drawn: dict[str, Any] = {
        "latent": trial.suggest_int("latent", 2, 200, log=True),
        "hidden": trial.suggest_int("hidden", 100, 1000, log=True),
        "beta": trial.suggest_float("beta", 0.25, 4.0, log=True),  # trials are compared at 1
        "kl_warmup": trial.suggest_float("kl_warmup", 0.0, 0.3),
        "lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True),
        "posterior": trial.suggest_categorical(
            "posterior", [name for name, others in go_with.items() if others and pinned in (None, *others)]
        ),
    }
    drawn["prior"] = pinned or _prior(trial, go_with[drawn["posterior"]])
    drawn |= posteriors[drawn["posterior"]].draw(trial)
    drawn |= priors[drawn["prior"]].draw(trial)
    return {**{name: value for name, value in DEFAULTS.items() if not name.startswith("lr_")}, **drawn}


NAMES: dict[tuple[str, ...], str] = {("standard", "vamp"): "prior", ("spike_slab", "vamp"): "sparse_prior"}
"""What the choice among some priors is called: Optuna knows one range by one name."""


def _prior(trial: Trial, choices: tuple[str, ...]) -> str:
    if len(choices) <= 1:
        return choices[0] if choices else "standard"  # with which the build says why it does not go
    chosen: str = trial.suggest_categorical(NAMES.get(choices, f"prior of {', '.join(choices)}"), list(choices))
    return chosen
