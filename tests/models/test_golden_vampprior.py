"""`vampprior` and `hvae` against what the authors' own research code computed; tests/golden/README.md says where from.

Tolerance, on |a - b| / (1 + |b|): 1e-9 in float64, the archives' own.
"""

import math

import pytest
import torch
from archives import close
from torch import Tensor

import models
from models.distributions import Gaussian
from models.hvae import TwoLevels
from models.likelihoods import DiscretizedLogistic
from models.vampprior import EqualMixture

CASES = [0, 1, 2]
PRIORS = {"vamp": "vampprior", "standard": "standard"}  # ours -> theirs

pytestmark = pytest.mark.usefixtures("float64")


def gates(layer: str) -> list[str]:
    """The two linear layers of theirs that are one of ours."""
    return [f"{layer}.h", f"{layer}.g"]


ONE_LEVEL = {
    "encoder.1": gates("q_z_layers.0"),
    "encoder.3": gates("q_z_layers.1"),
    "posterior_part.mu": ["q_z_mean"],
    "posterior_part.log_var": ["q_z_logvar.linear"],
    "decoder.0": gates("p_x_layers.0"),
    "decoder.2": gates("p_x_layers.1"),
    "decoder.4": ["p_x_mean.linear"],
}
TWO_LEVELS = {
    "encoder.1": gates("q_z2_layers.0"),
    "encoder.3": gates("q_z2_layers.1"),
    "posterior_part.z2.mu": ["q_z2_mean"],
    "posterior_part.z2.log_var": ["q_z2_logvar.linear"],
    "posterior_part.of_x.1": gates("q_z1_layers_x.0"),
    "posterior_part.of_z2.0": gates("q_z1_layers_z2.0"),
    "posterior_part.joint.layer": gates("q_z1_layers_joint.0"),
    "posterior_part.z1.mu": ["q_z1_mean"],
    "posterior_part.z1.log_var": ["q_z1_logvar.linear"],
    "prior_part.of_z2.0": gates("p_z1_layers.0"),
    "prior_part.of_z2.2": gates("p_z1_layers.1"),
    "prior_part.z1.mu": ["p_z1_mean"],
    "prior_part.z1.log_var": ["p_z1_logvar.linear"],
    "decoder.0.of_z1.0": gates("p_x_layers_z1.0"),
    "decoder.0.of_z2.0": gates("p_x_layers_z2.0"),
    "decoder.1": gates("p_x_layers_joint.0"),
    "decoder.3": ["p_x_mean.linear"],
}
LAST = {"vampprior": "decoder.4", "hvae": "decoder.3"}
PSEUDO_INPUTS = {"vampprior": "prior_part.pseudo_inputs", "hvae": "prior_part.top.pseudo_inputs"}


def parameters(name: str, prior: str, g: dict, group: str) -> dict[str, Tensor]:
    """The archive's values, or with the group "g" their gradients, by our names."""
    layers = dict(ONE_LEVEL if name == "vampprior" else TWO_LEVELS)
    if g["cfg.input_type"] == "gray":
        layers[LAST[name]] = ["p_x_mean.linear", "p_x_logvar.linear"]
    values = {
        f"{ours}.{kind}": torch.cat([g[f"{group}.{each}.{kind}"] for each in theirs])
        for ours, theirs in layers.items()
        for kind in ("weight", "bias")
    }
    if prior == "vamp":
        values[PSEUDO_INPUTS[name]] = g[f"{group}.means.linear.weight"].T[:, None, None]
    return values


def loaded(name: str, prior: str, archive: dict) -> tuple[dict, models.base.VAE]:
    """The part of the archive that is of this model, and the model with its weights."""
    title = f"{'vae' if name == 'vampprior' else 'hvae'}_{PRIORS[prior]}."
    g = {key.removeprefix(title): value for key, value in archive.items() if key.startswith((title, "cfg.", "in."))}
    z1, z2, hidden = (int(g[f"cfg.{key}"]) for key in ("z1", "z2", "hidden"))
    model = models.build(
        name,
        (1, 1, int(g["cfg.D"])),
        network="gated",
        hidden=[hidden, hidden],
        prior=prior,
        pseudo_inputs=int(g["cfg.C"]),
        **({"latent": z1} if name == "vampprior" else {"latent": z1 + z2, "top": z2}),
        **({"likelihood": "logistic", "edges": "closed"} if g["cfg.input_type"] == "gray" else {}),
    )
    weights = parameters(name, prior, g, "w")
    assert set(weights) == {key for key, _ in model.named_parameters()}
    model.load_state_dict(weights, strict=False)
    return g, model


@pytest.fixture(params=CASES)
def archive(request, golden):
    return golden(f"vamp_{request.param}")


@pytest.fixture(params=PRIORS)
def one(request, archive):
    """(archive, the model, images, prior) of one level."""
    g, model = loaded("vampprior", request.param, archive)
    return g, model, g["in.x"][:, None, None], request.param


@pytest.fixture(params=PRIORS)
def two(request, archive):
    g, model = loaded("hvae", request.param, archive)
    return g, model, g["in.x"][:, None, None], request.param


def test_the_archives_hold_both_kinds_of_pixels(golden):
    assert {golden(f"vamp_{case}")["cfg.input_type"] for case in CASES} == {"binary", "gray"}


# Distributions.


def without_constant(log_p: Tensor, size: int) -> Tensor:
    """As the authors' code has it."""
    return log_p + 0.5 * size * math.log(2 * math.pi)


def test_mixture_and_standard_normal(archive):
    g = archive
    z, far, latent = g["mix.z"], g["mix.z_far"], g["mix.z"].shape[1]
    mixture = EqualMixture(Gaussian(g["mix.means"], (0.5 * g["mix.logvars"]).exp()))
    close(mixture.log_prob(z), g["mix.log_p"])
    close(without_constant(mixture.log_prob(z), latent), g["mix.log_p_no_const"])
    close(mixture.log_prob(far), g["mix.log_p_far"])
    standard = Gaussian(torch.zeros(latent), torch.ones(latent))
    close(standard.log_prob(z), g["std.log_p"])
    close(without_constant(standard.log_prob(z), latent), g["std.log_p_no_const"])


def test_discretised_logistic_with_closed_edges(archive):
    g = archive
    pixels = DiscretizedLogistic(g["logistic.mean"], g["logistic.logscale"], edges="closed")
    close(pixels.log_prob(g["logistic.x"]).sum(1), g["logistic.log_p"])


# One level.


def test_vampprior_forward(one):
    g, model, x, prior = one
    q, p = model.posterior(x), model.prior()
    close(q.loc, g["z_mean"])
    close(2 * q.scale.log(), g["z_logvar"])
    z = q.rsample(noise=g["noise.eps"])
    close(z, g["z"])
    close(without_constant(q.log_prob(z), z.shape[1]), g["log_q_no_const"])
    close(without_constant(p.log_prob(z), z.shape[1]), g["log_p_no_const"])
    if prior == "vamp":
        close(model.prior_part.images().flatten(1), g["pseudo_inputs"])
        close(p.components.loc, g["prior_mean"])
        close(2 * p.components.scale.log(), g["prior_logvar"])
    pixels_are(model, z, g)


def pixels_are(model, z: Tensor, g: dict) -> None:
    pixels = model.likelihood(z).base_dist
    close(pixels.mean.flatten(1), g["x_mean"])
    if g["cfg.input_type"] == "gray":
        close(pixels.log_scale.flatten(1), g["x_logvar"])
    else:  # theirs clips the means; without effect where they stay within
        assert 1e-5 < g["x_mean"].min() < g["x_mean"].max() < 1 - 1e-5


def test_vampprior_loss_and_gradients(one):
    g, model, x, prior = one
    loss_and_gradients_are(model, "vampprior", prior, x, g["noise.eps"], g)


def loss_and_gradients_are(model, name: str, prior: str, x: Tensor, noise: Tensor, g: dict) -> None:
    elbo = model.elbo(x, 0, kl="sampled", noise=noise)
    close(elbo.log_lik, g["RE"])
    close(elbo.kl, g["KL"])
    close(elbo.kl - elbo.log_lik, g["loss"])
    close(g["cfg.beta"] * elbo.kl - elbo.log_lik, g["loss_beta"])
    loss = (elbo.kl - elbo.log_lik).mean()
    close(loss, g["loss_mean"])
    loss.backward()
    expected = parameters(name, prior, g, "g")
    for key, parameter in model.named_parameters():
        close(parameter.grad, expected[key])


# Two levels.


def test_hvae_forward(two):
    g, model, x, prior = two
    q, p = model.posterior(x), model.prior()
    assert isinstance(q, TwoLevels)
    assert isinstance(p, TwoLevels)
    close(q.top.loc, g["z2_mean"])
    close(2 * q.top.scale.log(), g["z2_logvar"])
    z = q.rsample(noise=torch.cat([g["noise.eps_z1"], g["noise.eps_z2"]], -1))
    close(z, torch.cat([g["z1"], g["z2"]], -1))
    for given, mean, log_var in ((q.given(z), "z1_mean", "z1_logvar"), (p.given(z), "p_z1_mean", "p_z1_logvar")):
        close(given.loc, g[mean])
        close(2 * given.scale.log(), g[log_var])
    for d, letter in ((q, "q"), (p, "p")):
        for level, log_d, size in zip(("z1", "z2"), d.log_prob_by_level(z), d.sizes):
            close(without_constant(log_d, size), g[f"log_{letter}_{level}_no_const"])
    if prior == "vamp":
        close(model.prior_part.top.images().flatten(1), g["pseudo_inputs"])
        close(p.top.components.loc, g["prior_mean"])
        close(2 * p.top.components.scale.log(), g["prior_logvar"])
    pixels_are(model, z, g)


def test_hvae_loss_and_gradients(two):
    g, model, x, prior = two
    loss_and_gradients_are(model, "hvae", prior, x, torch.cat([g["noise.eps_z1"], g["noise.eps_z2"]], -1), g)
