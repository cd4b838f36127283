"""The variational autoencoder of Kingma & Welling (ICLR 2014), with the KL weight of Higgins et al. (ICLR 2017), and
what becomes of it with the posteriors and priors of other papers.

p(z) = N(0, I),   q(z|x) = N(mu(x), diag sigma(x)^2),   loss = -log p(x|z) + beta KL(q(z|x) || p(z))

Any posterior goes with any prior that its KL divergence is finite for and can be had; see PAIRS.
"""

from __future__ import annotations

from typing import Literal

from models import householder, iaf, savae, vlae, vsc
from models.base import VAE, assemble
from models.domains import (
    Count,
    Fraction,
    Init,
    LikelihoodName,
    Margin,
    Network,
    Positive,
    Probability,
    Shape,
    Sigma,
    Whole,
    Widths,
)
from models.gaussian import GaussianPosterior, StandardPrior
from models.schedules import linear
from models.vampprior import VampPrior

__all__ = ["PAIRS", "GaussianPosterior", "StandardPrior", "build"]

Posterior = Literal["gaussian", "laplace", "svi", "householder", "iaf", "spike_slab"]
Prior = Literal["standard", "vamp", "spike_slab"]

PAIRS: dict[Posterior, tuple[Prior, ...]] = {
    "gaussian": ("standard", "vamp"),
    "laplace": ("standard",),
    "svi": ("standard",),
    "householder": ("standard", "vamp"),
    "iaf": ("standard",),
    "spike_slab": ("spike_slab", "vamp"),
}
"""The priors that each posterior goes with."""


def build(
    image_shape: Shape,
    *,
    latent: Count = 20,
    beta: Positive = 1.0,
    kl_warmup: Fraction = 0.0,
    posterior: Posterior = "gaussian",
    prior: Prior = "standard",
    updates: Whole = 4,
    update_rate: Positive = 0.5,
    svi_steps: Whole = 4,
    svi_rate: Positive = 0.02,
    flows: Whole = 4,
    flow_hidden: Count = 500,
    pseudo_inputs: Count = 500,
    alpha: Probability = 0.2,
    network: Network = "mlp",
    hidden: Widths = 500,
    decoder_hidden: Widths | None = None,
    likelihood: LikelihoodName = "bernoulli",
    sigma: Sigma = "learned",
    logit: Margin | None = None,
    init: Init = "torch",
    steps: Count = 20_000,
) -> VAE:
    """A VAE for images of that shape.

    The settings of a part that is not chosen do nothing.

    Args:
        image_shape: [C, H, W].
        latent: size of the code, Z.
        beta: weight of the KL in the training loss.
        kl_warmup: share of the training over which that weight rises from 0.
        posterior: "gaussian", or that of models/vlae.py ("laplace"), savae.py ("svi"), householder.py, iaf.py, vsc.py.
        prior: "standard", or that of models/vampprior.py or vsc.py.
        updates: of laplace: steps of the search for the mode.
        update_rate: of laplace: the first step's length.
        svi_steps: of svi: steps of refinement.
        svi_rate: of svi: their length.
        flows: of householder and iaf: how many.
        flow_hidden: of iaf: hidden units of each step.
        pseudo_inputs: of vamp: how many.
        alpha: of the spike_slab prior: its share of non-zero coordinates.
        network: "mlp" or "conv".
        hidden: widths of the encoder's fully connected layers, input side first.
        decoder_hidden: those of the decoder, code side first; None mirrors the encoder.
        likelihood: "bernoulli", "gaussian" or "logistic".
        sigma: the Gaussian likelihood's standard deviation: a number, "learned" or "per_pixel".
        logit: l, where the Gaussian is one over logit(l + (1 - 2 l) x), see `models.likelihoods.LogitLikelihood`.
        init: how weights start, see `models.networks.initialise`.
        steps: length of the training that schedules are shares of, in optimiser steps.

    Raises:
        ValueError: the posterior does not go with the prior, or not with the likelihood.
    """
    check_pair(posterior, prior)
    priors = {
        "standard": lambda: StandardPrior(latent),
        "vamp": lambda: VampPrior(image_shape, pseudo_inputs),
        "spike_slab": lambda: vsc.SpikeSlabPrior(latent, alpha),
    }
    posteriors = {
        "gaussian": lambda f: GaussianPosterior(f, latent),
        "laplace": lambda f: vlae.LaplacePosterior(f, latent, updates=updates, rate=update_rate),
        "svi": lambda f: savae.RefinedPosterior(f, latent, steps=svi_steps, rate=svi_rate),
        "householder": lambda f: householder.HouseholderPosterior(f, latent, flows=flows),
        "iaf": lambda f: iaf.FlowPosterior(f, latent, flows=flows, width=flow_hidden),
        "spike_slab": lambda f: vsc.SpikeSlabPosterior(f, latent),
    }
    return assemble(
        image_shape,
        latent=latent,
        posterior=posteriors[posterior],
        prior=priors[prior](),
        network=network,
        hidden=hidden,
        decoder_hidden=decoder_hidden,
        likelihood=likelihood,
        sigma=sigma,
        logit=logit,
        init=init,
        beta=linear(0.0, beta, kl_warmup * steps),
    )


def check_pair(posterior: Posterior, prior: Prior) -> None:
    """Raises ValueError, with the reason, where a posterior does not go with a prior."""
    if prior in PAIRS[posterior]:
        return
    if posterior == "spike_slab":
        reason = "has point masses at 0, which a prior with a density gives no probability: the KL is infinite"
    elif prior == "spike_slab":
        reason = "is almost never exactly 0, where the prior has point masses: the KL is infinite"
    elif posterior == "iaf":
        reason = "would have to be inverted coordinate by coordinate to give its density at another image's code"
    else:
        reason = "is found through the prior, and a VampPrior through the posterior: neither could come first"
    takes = ", ".join(PAIRS[posterior])
    raise ValueError(f"posterior: {posterior} {reason}, with prior: {prior}; it goes with {takes}")
