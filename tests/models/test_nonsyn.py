"""What is the Non-Synergistic VAE's own: who belongs to the best latents, the weight of the others, and its updates."""

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from waiting import Kernels

import models
from models.distributions import Gaussian
from models.nonsyn import chosen, kl_of_each, largest, legacy_best, sorted_best
from models.schedules import Step

SHAPE = (1, 8, 8)
B, Z = 12, 6
POLICIES = ("sorted", "legacy_order", "per_sample", "top_m")
UPDATES = ("joint", "two_step", "two_step_sample")


def build(name: str = "nonsyn", **settings):
    torch.manual_seed(0)
    return models.build(name, SHAPE, **{"latent": Z, "hidden": 16, **settings}).double()


@pytest.fixture
def x(blobs) -> Tensor:
    return blobs(B).double()


def members(best: Tensor) -> list[int]:
    return best.nonzero().flatten().tolist()


def kls(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# Who is in A.


@pytest.mark.parametrize("case", [0, 1, 2])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_legacy_order_is_the_authors(case, dtype, golden):
    g = golden(f"nonsyn_{case}")
    for i, omega in enumerate(g["in.omega"].tolist()):
        best = legacy_best(g["out.kl_per_dim"].to(dtype), omega)
        assert torch.equal(~best, g["out.worst_mask"][:, i].bool())
        assert best.sum(-1).tolist() == g["out.n_best"][:, i].tolist()


@pytest.mark.parametrize("case", [0, 1, 2])
def test_kl_and_synergy_are_the_authors(case, golden):
    g = golden(f"nonsyn_{case}")
    alpha = float(g["cfg.alpha"])
    for i, omega in enumerate(g["in.omega"].tolist()):
        model = models.build(
            "nonsyn", SHAPE, latent=int(g["cfg.Z"]), hidden=4, alpha=alpha, omega=omega, policy="legacy_order"
        ).double()
        for problem in range(len(g["in.mu"])):
            mu, log_var = (g[key][problem].clone().requires_grad_() for key in ("in.mu", "in.logvar"))
            q = Gaussian(mu, (0.5 * log_var).exp())
            k, best = model.selected(q)
            assert_close(k.mean(0), g["out.kl_per_dim"][problem], rtol=1e-9, atol=1e-9)
            assert_close(k.sum(1).mean(), g["out.kl"][problem], rtol=1e-9, atol=1e-9)
            assert_close((k * best).sum(1).mean(), g["out.i_max_best"][problem, i], rtol=1e-9, atol=1e-9)
            loss = alpha * model.synergy(q).mean()
            assert_close(loss, g["out.syn_loss"][problem, i], rtol=1e-9, atol=1e-9)
            if omega == float(g["out.grad_omega"]):
                gradients = torch.autograd.grad(loss, (mu, log_var))
                for found, key in zip(gradients, ("out.grad_mu", "out.grad_logvar")):
                    assert_close(found, g[key][problem], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", [0, 1, 2])
def test_the_reconstruction_is_the_authors(case, golden):
    g = golden(f"nonsyn_{case}")
    model = models.build("nonsyn", (1, 4, 4), latent=2, hidden=4)
    log_lik = model.likelihood_part(g["recon.logits"]).log_prob(g["recon.x"])
    assert_close(-log_lik.mean(), g["recon.loss"], rtol=1e-9, atol=1e-9)


def by_the_words(k: list[float], omega: float) -> set[int]:
    """The authors' procedure as the papers' page words it, one candidate after the other."""
    best, top = [], 0.0
    for _ in k:
        base, accepted = best, None
        for j in range(len(k)):
            value = sum(k[i] for i in base) + k[j]
            if j not in base and (value * omega if base else value) > top:
                accepted, top = j, value
        best = base if accepted is None else [*base, accepted]
    return set(best)


def test_the_legacy_order_is_its_words():
    generator = torch.Generator().manual_seed(1)
    for size in (1, 2, 3, 7, 12):
        for omega in (0.5, 0.8, 0.9, 0.95):
            k = torch.rand(20, size, generator=generator, dtype=torch.float64) ** 3
            together = legacy_best(k, omega)  # rows do not depend on each other
            for row, best in zip(k, together):
                assert set(members(best)) == by_the_words(row.tolist(), omega)
                assert torch.equal(best, legacy_best(row, omega))


def test_the_two_orders_differ():
    k = kls(3, 0.9, 1.2, 0.6, 0.2)
    assert members(legacy_best(k, 0.8)) == [0, 1, 2]
    assert members(sorted_best(k, 0.8)) == [0, 2]


@pytest.mark.parametrize("best", [sorted_best, legacy_best])
@pytest.mark.parametrize(("omega", "size"), [(0.5, 1), (0.7, 3), (0.8, 4), (0.9, 9), (0.95, 10), (1.0, 10)])
def test_of_equal_latents_it_takes_as_many_as_the_discount_leaves_room_for(best, omega, size):
    assert best(torch.ones(10, dtype=torch.float64), omega).sum() == size


@pytest.mark.parametrize(("omega", "size"), [(0.8, 3), (0.9, 5), (0.95, 6)])
def test_uninformative_latents_are_left_out(omega, size):
    k = kls(2.9, 2.8, 2.6, 2, 1.6, 0.9, 0.02, 0.01, 0.01, 0.005)
    assert members(sorted_best(k, omega)) == list(range(size))


def test_sorted_does_not_depend_on_the_numbers_of_the_latents():
    generator = torch.Generator().manual_seed(2)
    for _ in range(50):
        k = torch.rand(10, generator=generator, dtype=torch.float64) ** 3
        order = torch.randperm(10, generator=generator)
        assert torch.equal(sorted_best(k, 0.9)[order], sorted_best(k[order], 0.9))


@pytest.mark.parametrize("policy", POLICIES[:3])
def test_without_a_discount_the_whole_is_the_best(policy, x):
    small = torch.tensor([[5.0, 1e-12, 3.0]]).expand(4, -1)  # which a sum in single precision does not notice
    assert chosen(small, policy, 1.0, 0).all()
    loss_is_the_vaes(build(policy=policy, omega=1.0), x)


@pytest.mark.parametrize("policy", POLICIES)
def test_where_no_latent_tells_anything_nothing_is_penalised(policy):
    q = Gaussian(torch.zeros(5, Z).double(), torch.ones(5, Z).double())
    assert build(policy=policy).synergy(q).tolist() == [0.0] * 5


def test_top_m_takes_so_many():
    assert members(largest(kls(0.1, 3, 0.2, 2, 0.3), 2)) == [1, 3]
    assert largest(kls(1, 2), 5).all()
    assert largest(kls(1, 1, 1, 1), 2).sum() == 2


def test_per_sample_chooses_for_each_image_and_the_others_for_the_batch():
    k = torch.rand(20, Z, dtype=torch.float64) ** 3
    apart = torch.cat([sorted_best(row, 0.8)[None] for row in k])
    assert torch.equal(chosen(k, "per_sample", 0.8, 0), apart)
    assert torch.equal(chosen(k, "sorted", 0.8, 0), sorted_best(k.mean(0), 0.8).expand(20, -1))
    assert not torch.equal(apart, chosen(k, "sorted", 0.8, 0))


# The loss.


def seeded(loss, x: Tensor, step: Step = 0) -> Tensor:
    torch.manual_seed(3)
    return loss(x, step)


def loss_is_the_vaes(model, x: Tensor) -> None:
    """The loss and its gradients are those of a plain VAE with the same weights, to 1e-10."""
    plain = build("vae")
    plain.load_state_dict(model.state_dict())
    ours, theirs = seeded(model.loss, x), seeded(plain.loss, x)
    pairs = zip(torch.autograd.grad(ours, model.parameters()), torch.autograd.grad(theirs, plain.parameters()))
    assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    for a, b in pairs:
        assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("policy", POLICIES)
def test_without_a_weight_it_is_the_vae(policy, x):
    loss_is_the_vaes(build(policy=policy, alpha=0.0), x)


@pytest.mark.parametrize("policy", POLICIES)
def test_what_the_best_leave_of_the_kl_is_the_synergy(policy, x):
    model = build(policy=policy, omega=0.7, top_m=2)
    k, best = model.selected(model.posterior(x))
    assert_close(k.sum(1), model.elbo(x).kl, rtol=1e-12, atol=1e-12)
    assert_close(k.sum(1) - (k * best).sum(1), model.synergy(model.posterior(x)), rtol=1e-12, atol=1e-12)
    plain = build(alpha=0.0)
    expected = seeded(plain.loss, x) + 5.0 * model.synergy(model.posterior(x)).mean()
    assert_close(seeded(model.loss, x), expected, rtol=1e-12, atol=1e-12)
    assert 0 < best.sum() < B * Z


def test_only_the_heads_of_the_others_feel_the_synergy(x):
    model = build(omega=0.6)
    best = model.selected(model.posterior(x))[1][0]
    assert 0 < best.sum() < Z
    model.synergy(model.posterior(x)).sum().backward()
    for head in (model.posterior_part.mu, model.posterior_part.log_var):
        for gradient in (head.weight.grad.abs().sum(1), head.bias.grad.abs()):
            assert ((gradient > 0) == ~best).all()
    assert all(p.grad is None for p in model.decoder.parameters())


def test_the_weight_warms_up(x):
    model = build(alpha=4.0, alpha_warmup=0.5)
    model.budget = 100
    plain, synergy = build(alpha=0.0), model.synergy(model.posterior(x)).mean()
    for step, weight in ((0, 0.0), (25, 2.0), (50, 4.0), (100, 4.0)):
        added = seeded(model.loss, x, step) - seeded(plain.loss, x, step)
        assert_close(added, weight * synergy, rtol=1e-9, atol=1e-9)


# Updates.


def train(model, data: Tensor, steps: int) -> Tensor:
    """Steps on the given images, with the same noise for the first loss of each; the weights after them."""
    adam = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(steps):
        for i, (_, _, loss) in enumerate(model.updates()):
            adam.zero_grad()
            torch.manual_seed(100 * step + i)
            loss(data, step).backward()
            adam.step()
    return nn.utils.parameters_to_vector(model.parameters()).detach()


@pytest.mark.parametrize("update", UPDATES)
def test_without_a_weight_every_way_of_updating_is_the_vaes_training(update, x):
    data = x.repeat(2, 1, 1, 1) if update == "two_step_sample" else x
    assert_close(train(build(update=update, alpha=0.0), data, 20), train(build("vae"), x, 20), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("update", UPDATES)
def test_no_policy_waits_for_the_device(policy, update, blobs):
    model = build(update=update, policy=policy)
    x = blobs(B * model.batches).double()
    for each in model.updates():
        with Kernels() as kernels:
            each.loss(x, torch.tensor(3)).backward()
        assert not kernels.waiting


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("update", UPDATES)
def test_a_step_raises_nothing_where_anomalies_are_looked_for(update, policy, blobs):
    model = build(update=update, policy=policy, omega=0.7, top_m=2)
    with pytest.warns(UserWarning, match="Anomaly Detection"), torch.autograd.detect_anomaly(check_nan=True):
        train(model, blobs(B * model.batches).double(), 1)


@pytest.mark.parametrize("update", UPDATES)
def test_a_hundred_steps_are_finite(update, blobs):
    model = build(update=update)
    assert torch.isfinite(train(model, blobs(B * model.batches).double(), 100)).all()


def test_the_second_update_reads_the_second_batch_with_the_weights_that_the_first_has_left(blobs):
    x = blobs(2 * B).double()
    model = build(update="two_step_sample")
    elbo, synergy = model.updates()
    assert_close(seeded(elbo.loss, x), seeded(build(alpha=0.0).loss, x[:B]))
    assert_close(synergy.loss(x, 0), 5.0 * model.synergy(model.posterior(x[B:])).mean())
    one, two = build(update="two_step").updates(), build(update="joint").updates()
    assert ([u.name for u in one], [u.name for u in two]) == (["elbo", "synergy"], ["elbo and synergy"])


# Measures and settings.


def test_the_share_of_images_that_a_latent_is_selected_for(x):
    model = build(policy="per_sample", omega=0.7)
    look, best = model.look(x), model.selected(model.posterior(x))[1]
    found = {measure.name: take(x, look) for measure, take in model.measures().items()}
    assert list(found) == ["synergy", *(f"selected_{j}" for j in range(Z))]
    for j in range(Z):
        assert found[f"selected_{j}"].tolist() == best[:, j].double().tolist()
    assert_close(found["synergy"], model.synergy(look.posterior))


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_what_follows_the_last_layer_of_the_encoder(network):
    relu, none = (build(fc_act=fc_act, network=network).encoder for fc_act in ("relu", "none"))
    assert isinstance(relu[-1], nn.ReLU)
    assert isinstance(none[-1], nn.Linear)
    assert [type(layer) for layer in none] == [type(layer) for layer in relu][:-1]


def test_an_encoder_without_a_layer_is_left_as_it_is():
    for fc_act in ("relu", "none"):
        assert len(build(fc_act=fc_act, hidden=()).encoder) == 1


def test_the_published_network_may_have_the_activation_that_it_lacks():
    for fc_act, last in (("none", nn.Linear), ("relu", nn.ReLU)):
        model = models.build("nonsyn", (1, 64, 64), network="dsprites", fc_act=fc_act)
        assert isinstance(model.encoder[-1], last)


@pytest.mark.parametrize(("policy", "idle"), [("sorted", {"top_m"}), ("top_m", {"omega"})])
def test_what_a_policy_does_not_read_is_idle(policy, idle):
    model = build(policy=policy)
    assert set(model.hyperparameters) - set(models.in_use(model)) == idle


@pytest.mark.parametrize("settings", [{"alpha": -1.0}, {"omega": 0.0}, {"omega": 1.1}, {"policy": "greedy"}])
def test_what_is_no_setting_is_refused(settings):
    with pytest.raises(models.ModelError, match=next(iter(settings))):
        build(**settings)


def test_kls_are_never_negative():
    q = Gaussian(torch.full((3, 40), 1e-5), torch.full((3, 40), 1 + 1e-5))
    assert (kl_of_each(q, Gaussian(torch.zeros(40), torch.ones(40))) >= 0).all()
