"""Search space of the VAE: Kingma & Welling (2014), with the KL weight of Higgins et al. (2017), and over the
posteriors and priors of the other papers. What a part needs is drawn where the part is; elsewhere it keeps its default.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from searchspaces import Trial, pins

DEFAULTS: dict[str, Any] = {
    "latent": 20,  # Kingma & Welling, Figure 2: 3 to 200 on MNIST; 20 is among their best
    "hidden": 500,  # their Section 5: 500 hidden units on MNIST
    "beta": 1.0,  # the ELBO itself
    "kl_warmup": 0.0,  # none in the paper
    "lr": 1e-3,  # Adam's own; the paper used Adagrad at 0.01 to 0.1
    "posterior": "gaussian",  # the paper's
    "prior": "standard",  # the paper's
    "updates": 4,  # searchspaces/vlae.py
    "update_rate": 0.5,  # likewise
    "svi_steps": 4,  # searchspaces/savae.py
    "svi_rate": 0.02,  # likewise
    "flows": 4,  # searchspaces/householder.py, iaf.py
    "pseudo_inputs": 500,  # Tomczak & Welling (2018)
}


def space(trial: Trial) -> dict[str, Any]:
    """Draws a VAE's configuration; only pairs of posterior and prior that go together, and with what is pinned."""
    pinned = pins(trial).get("prior")
    posteriors = [name for name, (priors, _) in POSTERIORS.items() if pinned in (None, *priors)]
    drawn: dict[str, Any] = {
        "latent": trial.suggest_int("latent", 2, 200, log=True),
        "hidden": trial.suggest_int("hidden", 100, 1000, log=True),
        "beta": trial.suggest_float("beta", 0.25, 4.0, log=True),  # trials are compared at 1
        "kl_warmup": trial.suggest_float("kl_warmup", 0.0, 0.3),
        "lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True),
        "posterior": trial.suggest_categorical("posterior", posteriors),
    }
    priors, draw = POSTERIORS[drawn["posterior"]]
    drawn |= {"prior": pinned or _prior(trial, priors), **draw(trial)}
    if drawn["prior"] == "vamp":
        drawn["pseudo_inputs"] = trial.suggest_int("pseudo_inputs", 50, 500, log=True)
    return {**DEFAULTS, **drawn}


def _prior(trial: Trial, priors: tuple[str, ...]) -> str:
    if len(priors) == 1:
        return priors[0]
    name = "prior" if "standard" in priors else "sparse_prior"  # Optuna knows one range by one name
    return trial.suggest_categorical(name, list(priors))


def _nothing(trial: Trial) -> dict[str, Any]:
    return {}


def _laplace(trial: Trial) -> dict[str, Any]:
    return {
        "updates": trial.suggest_int("updates", 1, 4, log=True),
        "update_rate": trial.suggest_float("update_rate", 0.3, 1.0),
    }


def _svi(trial: Trial) -> dict[str, Any]:
    return {
        "svi_steps": trial.suggest_int("svi_steps", 1, 8, log=True),
        "svi_rate": trial.suggest_float("svi_rate", 1e-3, 0.3, log=True),
    }


def _flows(trial: Trial) -> dict[str, Any]:
    return {"flows": trial.suggest_int("flows", 1, 8, log=True)}


POSTERIORS: dict[str, tuple[tuple[str, ...], Callable[[Trial], dict[str, Any]]]] = {
    "gaussian": (("standard", "vamp"), _nothing),
    "laplace": (("standard",), _laplace),
    "svi": (("standard",), _svi),
    "householder": (("standard", "vamp"), _flows),
    "iaf": (("standard",), _flows),
    "spike_slab": (("spike_slab", "vamp"), _nothing),
}
"""The priors that each posterior goes with, and how its own settings are drawn."""
