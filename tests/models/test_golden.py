"""`vsc` and `vae` against what their papers' own research codes computed; tests/golden/README.md says where from.

Tolerance, on |a - b| / (1 + |b|): 1e-9 in float64, the archives' own.
"""

import pytest
import torch
from archives import VAE_LAYERS, close, gradients_are, load, of_layers, parameters_are
from torch import nn

import models
from models.distributions import Gaussian

CASES = [0, 1, 2]


# Variational sparse coding.


@pytest.fixture(params=CASES)
def sparse(request, golden):
    """(archive, the model with its weights, names of the parameters, images)."""
    g = golden(f"vsc_{request.param}")
    hidden = [int(width) for width in g["cfg.hidden"]]
    model = models.build(
        "vsc",
        (1, 1, int(g["cfg.D"])),
        latent=int(g["cfg.Z"]),
        hidden=hidden,
        alpha=float(g["cfg.alpha"]),
        gamma_param="neg_relu",
        gate="sigmoid",
        gamma_init=None,
        steepness=float(g["cfg.c"]),
        steepness_final=float(g["cfg.c"]),
    ).double()
    layers = {"encoder.1": "fc1", "decoder.0": "fc3", f"decoder.{2 * len(hidden)}": "fc4"}
    layers |= {f"encoder.{3 + 2 * i}": f"fc1n.{i}" for i in range(len(hidden) - 1)}
    layers |= {f"decoder.{2 + 2 * i}": f"fc3n.{i}" for i in range(len(hidden) - 1)}
    layers |= {"posterior_part.mu": "fc21", "posterior_part.log_var": "fc22", "posterior_part.v": "fc23"}
    names = of_layers(layers)
    load(model, names, g, "w.")
    return g, model, names, g["in.x"][:, None, None]


def test_vsc_forward(sparse):
    g, model, _, x = sparse
    q, noise = model.posterior(x, 0), (g["noise.eps"], g["noise.eta"])
    close(q.loc, g["out.mu"])
    close(2 * q.scale.log(), g["out.logvar"])
    close(q.probs.log(), g["out.logspike"])
    close(q.logits.sigmoid(), g["out.spike_clamped"])
    close(q.gate(g["noise.eta"]), g["out.selection"])
    close(q.rsample(noise=noise), g["out.z"])
    close(model.likelihood(g["out.z"]).mean.flatten(1), g["out.recon"])


def test_vsc_loss_and_gradients(sparse):
    g, model, names, x = sparse
    elbo = model.elbo(x, 0, noise=(g["noise.eps"], g["noise.eta"]))
    close(-elbo.log_lik, g["out.bce_per_sample"])
    close(elbo.kl, g["out.kl_per_sample"])
    close(-elbo.log_lik.sum(), g["out.bce"])
    close(elbo.kl.sum(), g["out.kl"])
    loss = (elbo.kl - elbo.log_lik).sum()  # theirs is a sum over the batch
    close(loss, g["out.loss"])
    loss.backward()
    gradients_are(model, names, g)


def test_vsc_five_adam_steps(sparse):
    g, model, names, x = sparse
    adam = torch.optim.Adam(model.parameters(), float(g["trace.lr"]))
    for step, (eps, eta, expected) in enumerate(zip(g["trace.eps"], g["trace.eta"], g["trace.loss"])):
        elbo = model.elbo(x, step, noise=(eps, eta))
        loss = (elbo.kl - elbo.log_lik).sum()
        close(loss, expected)
        adam.zero_grad()
        loss.backward()
        adam.step()
    parameters_are(model, names, g, "trace.w_final.")


# VAE.


@pytest.fixture(params=CASES)
def dense(request, golden):
    """(archive, the model with its weights, names of the parameters, images); of both likelihoods."""
    g = golden(f"gvae_{request.param}")
    model = models.build(
        "vae",
        (1, 1, int(g["cfg.D"])),
        latent=int(g["cfg.Z"]),
        hidden=[int(g["cfg.enc_hidden"])] * 2,
        decoder_hidden=[int(g["cfg.dec_hidden"])] * 2,
        likelihood=g["cfg.output"],
        sigma="learned",
    ).double()
    names = of_layers(VAE_LAYERS)
    if g["cfg.output"] == "gaussian":
        names["likelihood_part.log_var"] = "decoder.logvar"
    load(model, names, g, "w.")
    return g, model, names, g["in.x"][:, None, None]


def test_the_vae_archives_hold_both_likelihoods(golden):
    assert {golden(f"gvae_{case}")["cfg.output"] for case in CASES} == {"gaussian", "bernoulli"}


def test_vae_forward(dense):
    g, model, _, x = dense
    q = model.posterior(x)
    close(model.encoder(x), g["out.h"])
    close(q.loc, g["out.mu"])
    close(2 * q.scale.log(), g["out.logvar"])
    close(q.rsample(noise=g["noise.eps"]), g["out.z"])
    close(q.log_prob(g["out.z"]), g["out.log_qz_x"])
    close(model.prior().log_prob(g["out.z"]), g["out.log_pz"])
    close(model.likelihood(g["out.z"]).mean.flatten(1), g["out.dec_mean"])
    if g["cfg.output"] == "bernoulli":  # theirs clips the means; without effect where they stay within
        assert g["out.dec_mean"].min() > 1e-5
        assert g["out.dec_mean"].max() < 1 - 1e-5


def test_vae_loss_and_gradients(dense):
    g, model, names, x = dense
    close(model.elbo(x, noise=g["noise.eps"]).kl, g["out.kl"])  # the closed form
    elbo = model.elbo(x, 0, kl="sampled", noise=g["noise.eps"])
    close(elbo.log_lik, g["out.log_px_z"])
    close(elbo.kl, g["out.log_qz_x"] - g["out.log_pz"])
    loss = (elbo.kl - elbo.log_lik).mean()
    close(loss, g["out.loss"])
    loss.backward()
    gradients_are(model, names, g)


def test_vae_five_adam_steps(dense):
    g, model, names, x = dense
    adam = torch.optim.Adam(model.parameters(), float(g["trace.lr"]))
    for step, (eps, expected) in enumerate(zip(g["trace.eps"], g["trace.loss"])):
        elbo = model.elbo(x, step, kl="sampled", noise=eps)
        loss = (elbo.kl - elbo.log_lik).mean()
        close(loss, expected)
        adam.zero_grad()
        loss.backward()
        adam.step()
    parameters_are(model, names, g, "trace.w_final.")


def test_vae_importance_weights(dense, monkeypatch):
    g, model, _, x = dense
    eps = g["iw.eps"].transpose(0, 1)  # ours are [S, B, Z]
    monkeypatch.setattr(Gaussian, "sample", lambda self, sample_shape: self.rsample(noise=eps))
    if g["cfg.output"] == "bernoulli":  # theirs clips the means to [1e-5, 1 - 1e-5], which a tenth of these draws meets
        edge = torch.logit(torch.tensor(1e-5, dtype=torch.float64)).item()
        model.decoder.append(nn.Hardtanh(edge, -edge))
    log_w = model.log_weights(x, len(eps))
    close(log_w.T, g["iw.log_w"])
    log_lik = log_w.logsumexp(0) - torch.tensor(len(eps)).double().log()
    close(log_lik, g["iw.ll"])
    close(log_lik.sum(), g["iw.ll_sum"])
