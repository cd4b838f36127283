"""The Laplace, semi-amortised, Householder and autoregressive posteriors against what the code of Park, Kim & Kim
(2019) computed; tests/golden/README.md says where from.

Tolerance, on |a - b| / (1 + |b|): 1e-9 in float64, the archives' own.
"""

import math

import pytest
import torch
from archives import VAE_LAYERS, close, gradients_are, load, of_layers
from torch import Tensor
from torch.distributions import Bernoulli, Independent

import models
from models import vlae
from models.distributions import Gaussian, PrecisionGaussian
from models.householder import Reflected
from models.iaf import Flowed
from models.likelihoods import BernoulliLikelihood
from models.savae import RefinedPosterior

CASES = [0, 1, 2]

AMORTISED_LAYERS = {
    **{ours: theirs for ours, theirs in VAE_LAYERS.items() if not ours.startswith("posterior_part")},
    "posterior_part.amortised.mu": "encoder.linear_mu",
    "posterior_part.amortised.log_var": "encoder.linear_logvar",
}


def build(name: str, g: dict, output: str, **settings):
    return models.build(
        name,
        (1, 1, int(g["cfg.D"])),
        latent=int(g["cfg.Z"]),
        hidden=[int(g["cfg.enc_hidden"])] * 2,
        decoder_hidden=[int(g["cfg.dec_hidden"])] * 2,
        likelihood=output,
        sigma="learned",
        **settings,
    ).double()


def names_of(layers: dict[str, str], output: str) -> dict[str, str]:
    return of_layers(layers) | ({"likelihood_part.log_var": "decoder.logvar"} if output == "gaussian" else {})


def clipped(self: BernoulliLikelihood, output: Tensor) -> Independent:
    """Their Bernoulli likelihood, whose means keep within [1e-5, 1 - 1e-5]."""
    edge = math.log(1e5 - 1)
    return Independent(Bernoulli(logits=output.clamp(-edge, edge), validate_args=False), 3, validate_args=False)


def importance_weights_are(model, x: Tensor, g: dict, prefix: str, noise: Tensor, monkeypatch) -> None:
    """log_weights, given noise [S, B, Z], against the archive's."""
    q = type(model.posterior(x))
    monkeypatch.setattr(q, "sample", lambda self, sample_shape: self.rsample(noise=noise).detach())
    if q is Flowed:  # which knows the density of what its last call of rsample returned, as that object
        monkeypatch.setattr(q, "sample", lambda self, sample_shape: self.rsample(noise=noise))
    monkeypatch.setattr(BernoulliLikelihood, "forward", clipped)
    log_w = model.log_weights(x, len(noise))
    close(log_w.T, g[prefix + "iw.log_w"])
    close(log_w.logsumexp(0) - math.log(len(noise)), g[prefix + "iw.ll"])


# Laplace.


@pytest.fixture(params=[(case, output) for case in CASES for output in ("gaussian", "bernoulli")], ids=str)
def laplace(request, golden):
    """(archive, prefix, the model with its weights, names of the parameters, images)."""
    case, output = request.param
    g = golden(f"vlae_{case}")
    model = build("vlae", g, output, updates=int(g["cfg.n_update"]), update_rate=float(g["cfg.update_lr"]))
    layers = {ours: theirs for ours, theirs in VAE_LAYERS.items() if ours != "posterior_part.log_var"}
    names = names_of(layers, output)
    load(model, names, g, "w.")
    return g, output + ".", model, names, g[output + ".in.x"][:, None, None]


@pytest.fixture(params=["gram", "jacobian"])
def way(request, monkeypatch):
    """Both ways to the precision, whichever would be cheaper."""
    monkeypatch.setattr(vlae, "gram_is_cheaper", lambda *sizes: request.param == "gram")


@pytest.mark.usefixtures("way")
def test_vlae_search(laplace):
    g, out, model, _, x = laplace
    path = model.posterior_part.search(model, x)
    close(torch.stack([q.loc for q in path]), g[out + "out.mu_iter"])
    for q, precision in zip(path, [*g[out + "out.precision_iter"], g[out + "out.precision"]]):
        close(q.factor @ q.factor.mT, precision)
    newton = [a.loc + (b.loc - a.loc) / rate for a, b, rate in zip(path, path[1:], model.posterior_part.rates)]
    close(torch.stack(newton), g[out + "out.mu_newton"])


def test_vlae_jacobian(laplace):
    g, out, model, _, _ = laplace
    for mu, jacobian, mean in zip(g[out + "out.mu_iter"], g[out + "out.jacobian_iter"], g[out + "out.dec_mean_iter"]):
        layers = list(model.decoder.children())
        outputs = vlae.activations(layers, mu)
        output, ours = outputs[-1], vlae.jacobian(layers, mu, outputs)
        close(ours.flatten(2).mT, jacobian)
        close(model.likelihood(mu).mean.flatten(1), mean)
        close(model.likelihood_part(output).mean.flatten(1), mean)


def white(q: PrecisionGaussian, z: Tensor) -> Tensor:
    """The noise with which our factorisation draws z: theirs is another, of the covariance, with the same law."""
    return torch.einsum("...i,...ij->...j", z - q.loc, q.factor)


@pytest.mark.usefixtures("way")
def test_vlae_draws_and_densities(laplace):
    g, out, model, _, x = laplace
    q, z = model.posterior(x), g[out + "out.z"]
    close(q.covariance, g[out + "out.L"] @ g[out + "out.L"].mT)
    close(q.rsample(noise=white(q, z)), z)
    close(q.log_prob(z), g[out + "out.log_qz_x"])
    close(q.log_prob(g[out + "query.z"]), g[out + "query.log_q"])
    close(model.prior().log_prob(z), g[out + "out.log_pz"])
    close(model.likelihood(z).log_prob(x), g[out + "out.log_px_z"])
    elbo = model.elbo(x, kl="sampled", noise=white(q, z))
    close(elbo.log_lik, g[out + "out.log_px_z"])
    close(elbo.kl, g[out + "out.log_qz_x"] - g[out + "out.log_pz"])


@pytest.mark.usefixtures("way")
def test_vlae_loss_and_gradients(laplace):
    g, out, model, names, x = laplace
    q = model.posterior(x, 0)
    # Their draw, so that the gradient through it is theirs; q, its density and the likelihood are ours.
    z = q.loc + (torch.linalg.cholesky(q.covariance) @ g[out + "noise.eps"][..., None])[..., 0]
    close(z, g[out + "out.z"])
    loss = -(model.likelihood(z).log_prob(x) + model.prior().log_prob(z) - q.log_prob(z)).mean()
    close(loss, g[out + "out.loss"])
    loss.backward()
    gradients_are(model, names, {key.removeprefix(out): value for key, value in g.items() if key.startswith(out)})


def test_vlae_importance_weights(laplace, monkeypatch):
    g, out, model, _, x = laplace
    q = model.posterior(x)
    z = q.loc + (g[out + "out.L"] @ g[out + "iw.eps"].transpose(0, 1)[..., None])[..., 0]
    importance_weights_are(model, x, g, out, white(q, z).detach(), monkeypatch)


# Householder flow.


@pytest.fixture(params=CASES)
def reflected(request, golden):
    g = golden(f"hf_{request.param}")
    flows, output = int(g["cfg.n_flow"]), g["cfg.output"]
    model = build("householder", g, output, flows=flows)
    layers = {f"posterior_part.normals.{i}": f"householderflow.linear_flows.{i}" for i in range(flows)}
    names = names_of(AMORTISED_LAYERS | layers, output)
    load(model, names, g, "w.")
    return g, model, names, g["in.x"][:, None, None]


def test_householder_forward(reflected):
    g, model, _, x = reflected
    q = model.posterior(x)
    assert isinstance(q, Reflected)
    close(q.base.loc, g["out.mu"])
    close(2 * q.base.scale.log(), g["out.logvar"])
    close(torch.stack(q.normals), g["out.v"])
    close(q.base.rsample(noise=g["noise.eps"]), g["out.z0"])
    close(q.rsample(noise=g["noise.eps"]), g["out.z_flow"])
    close(q.rsample(noise=g["noise.eps"]), (g["out.H"] @ g["out.z0"][..., None])[..., 0])
    close(q.log_prob(g["out.z_flow"]), g["out.log_qz_x"])
    close(model.likelihood(g["out.z_flow"]).mean.flatten(1), g["out.dec_mean"])


def test_householder_loss_and_gradients(reflected):
    g, model, names, x = reflected
    elbo = model.elbo(x, 0, kl="sampled", noise=g["noise.eps"])
    close(elbo.log_lik, g["out.log_px_z"])
    close(elbo.kl, g["out.log_qz_x"] - g["out.log_pz"])
    loss = (elbo.kl - elbo.log_lik).mean()
    close(loss, g["out.loss"])
    loss.backward()
    gradients_are(model, names, g)


def test_householder_importance_weights(reflected, monkeypatch):
    g, model, _, x = reflected
    importance_weights_are(model, x, g, "", g["iw.eps"].transpose(0, 1), monkeypatch)


# Inverse autoregressive flow. As published it does not see its context, and that is our context=False.


@pytest.fixture(params=[(case, variant) for case in CASES for variant in ("context", "as_published")], ids=str)
def flowed(request, golden):
    """(archive, prefix, the model with its weights and masks, names of what is not the flow's, images)."""
    case, variant = request.param
    g = golden(f"iaf_{case}")
    output, context = g["cfg.output"], variant == "context"
    model = build("iaf", g, output, flows=int(g["cfg.n_flow"]), flow_hidden=int(g["cfg.iaf_hidden"]), context=context)
    names = names_of(AMORTISED_LAYERS, output)
    weights = {ours: g["w." + theirs] for ours, theirs in names.items()}
    for i in range(len(model.posterior_part.steps)):
        weights |= made(g, "w.", i, context)
        theirs, ours = f"w.AutoregressiveNN.{i}.", f"posterior_part.steps.{i}."
        weights |= {ours + "see": g[theirs + "W_mask"][:, : int(g["cfg.Z"])], ours + "shown": g[theirs + "V_mask"]}
    model.load_state_dict(weights, strict=False)
    assert set(weights) == {*dict(model.named_parameters()), *(k for k in weights if k.endswith(("see", "shown")))}
    return g, variant + ".", model, names, g["in.x"][:, None, None]


def made(g: dict, group: str, i: int, context: bool) -> dict[str, Tensor]:
    """The archive's parameters of step i, or their gradients, by our names."""
    latent = int(g["cfg.Z"])
    theirs, ours = f"{group}AutoregressiveNN.{i}.", f"posterior_part.steps.{i}."
    values = {
        "inputs.weight": g[theirs + "W.weight"][:, :latent],
        "bias": g[theirs + "b"],
        "slope.weight": g[theirs + "relu.weight"],
        "m.weight": g[theirs + "V_m.weight"],
        "m.bias": g[theirs + "c_m"],
        "logit_s.weight": g[theirs + "V_s.weight"],
        "logit_s.bias": g[theirs + "c_s"],
    }
    if context:
        values["context.weight"] = g[theirs + "W.weight"][:, latent:]
    return {ours + key: value for key, value in values.items()}


def test_iaf_forward(flowed):
    g, variant, model, _, x = flowed
    q = model.posterior(x)
    close(q.base.loc, g["out.mu"])
    close(2 * q.base.scale.log(), g["out.logvar"])
    for i, (step, context) in enumerate(zip(q.steps, q.contexts)):
        z = g[variant + "z_steps"][i]
        m, logit_s = step(z.flip(-1) if i else z, context)
        close(m, g[variant + "m"][i])
        close(logit_s, g[variant + "s"][i])
    z = q.rsample(noise=g["noise.eps"])
    close(z, g[variant + "z"])
    close(q.log_prob(z), g[variant + "log_q"])
    close(model.likelihood(z).mean.flatten(1), g[variant + "dec_mean"])


def test_iaf_loss_and_gradients(flowed):
    g, variant, model, names, x = flowed
    elbo = model.elbo(x, 0, kl="sampled", noise=g["noise.eps"])
    close(elbo.log_lik, g[variant + "log_px_z"])
    close(elbo.kl, g[variant + "log_q"] - g[variant + "log_pz"])
    loss = (elbo.kl - elbo.log_lik).mean()
    close(loss, g[variant + "loss"])
    loss.backward()
    expected = {ours: g[f"{variant}g.{theirs}"] for ours, theirs in names.items()}
    for i, step in enumerate(model.posterior_part.steps):
        expected |= made(g, variant + "g.", i, step.context is not None)
    assert set(expected) == {key for key, _ in model.named_parameters()}
    for key, parameter in model.named_parameters():
        close(parameter.grad, expected[key])


def test_iaf_importance_weights(flowed, monkeypatch):
    g, variant, model, _, x = flowed
    importance_weights_are(model, x, g, variant, g["iw.eps"].transpose(0, 1), monkeypatch)


# Semi-amortised. Of the archives' four variants ours is the last; the others are made from it here.

OURS = "sign_corrected_per_sample_norm_clip."


@pytest.fixture(params=CASES)
def refined(request, golden):
    g = golden(f"savae_{request.param}")
    output = g["cfg.output"]
    model = build(
        "savae",
        g,
        output,
        svi_steps=int(g["cfg.n_svi_step"]),
        svi_rate=float(g["cfg.svi_lr"]),
        svi_clip=float(g["cfg.clip"]),
    )
    names = names_of(AMORTISED_LAYERS, output)
    load(model, names, g, "w.")
    return g, model, names, g["in.x"][:, None, None]


def squared_norm_clip(scale: float):
    """Their clip, of the gradient times a scale."""
    return lambda self, g: scale * g / ((scale * g).square().sum(-1, keepdim=True) / self.clip).clamp(min=1)


VARIANTS = {
    OURS: lambda batch: RefinedPosterior._clipped,
    "sign_corrected_per_sample.": lambda batch: squared_norm_clip(1.0),
    "sign_corrected.": lambda batch: squared_norm_clip(1 / batch),  # of the batch's mean
    "as_published.": lambda batch: squared_norm_clip(-1 / batch),  # and up the loss
}


def steps(g: dict, model, x: Tensor, variant: str, training: bool, monkeypatch) -> list[Gaussian]:
    monkeypatch.setattr(RefinedPosterior, "_clipped", VARIANTS[variant](len(x)))
    if variant != OURS:  # whose steps stay clear of the edges
        monkeypatch.setattr(BernoulliLikelihood, "forward", clipped)
    return model.posterior_part.refine(model, x, g["noise.eps_steps"], training=training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_savae_steps(refined, variant, training, monkeypatch):
    g, model, _, x = refined
    path = steps(g, model, x, variant, training, monkeypatch)
    close(torch.stack([q.loc for q in path]), g[variant + "mu_steps"])
    close(torch.stack([2 * q.scale.log() for q in path]), g[variant + "logvar_steps"])
    z = path[-1].rsample(noise=g["noise.eps_final"])
    loss = -(model.likelihood(z).log_prob(x) + model.prior().log_prob(z) - path[-1].log_prob(z))
    if variant + "loss" in g:
        close(loss.mean(), g[variant + "loss"])
    else:
        close(loss, g[variant + "loss_per_sample"])


def test_savae_clips(refined):
    g, model, _, _ = refined
    for half in ("mu", "logvar"):
        gradient, expected = -g[f"{OURS}grad_{half}"], -g[f"{OURS}clipped_{half}"]  # theirs are of the loss
        close(model.posterior_part._clipped(gradient), expected)


def test_some_clips_of_the_savae_archives_bite_and_some_do_not(golden):
    norms = torch.cat([golden(f"savae_{case}")[OURS + "grad_mu"].norm(dim=-1).flatten() for case in CASES])
    assert norms.min() < 5 < norms.max()


@pytest.mark.parametrize("variant", ["sign_corrected.", "as_published."])  # the archives hold no other's
def test_savae_gradients_through_the_steps(refined, variant, monkeypatch):
    g, model, names, x = refined
    q = steps(g, model, x, variant, True, monkeypatch)[-1]
    z = q.rsample(noise=g["noise.eps_final"])
    close(z, g[variant + "z_final"])
    loss = -(model.likelihood(z).log_prob(x) + model.prior().log_prob(z) - q.log_prob(z)).mean()
    loss.backward()
    gradients_are(model, names, {key.removeprefix(variant): value for key, value in g.items()})


def test_savae_elbo_with_the_archives_noise(refined, monkeypatch):
    g, model, _, x = refined
    monkeypatch.setattr(torch, "randn_like", lambda noise: g["noise.eps_steps"])  # what a training step draws
    elbo = model.elbo(x, 0, kl="sampled", noise=g["noise.eps_final"])
    close(elbo.kl - elbo.log_lik, g[OURS + "loss_per_sample"])
