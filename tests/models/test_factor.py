"""What is FactorVAE's own: the discriminator, shuffled codes, and two updates from two batches."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

import models
from models.factor import Discriminator, permuted

SHAPE = (1, 8, 8)
B, Z = 12, 4


def build(name: str = "factor", **settings):
    torch.manual_seed(0)
    own = {"discriminator_hidden": 16} if name == "factor" else {}
    return models.build(name, SHAPE, **{"latent": Z, "hidden": 16, **own, **settings}).double()


@pytest.fixture
def x(blobs) -> Tensor:
    return blobs(2 * B).double()


def seeded(loss, x: Tensor, step: int = 0) -> Tensor:
    torch.manual_seed(3)
    return loss(x, step)


@pytest.mark.parametrize(("hidden", "count"), [([1000] * 5, 4_017_002), ([1000] * 6, 5_018_002)])
def test_the_discriminators_of_the_published_codes(hidden, count):
    with torch.device("meta"):
        model = models.build("factor", (1, 64, 64), latent=10, discriminator_hidden=hidden)
    assert sum(p.numel() for p in model.discriminator.parameters()) == count


def test_the_default_is_that_of_five_hidden_layers():
    with torch.device("meta"):
        model = models.build("factor", (1, 64, 64))
    assert sum(p.numel() for p in model.discriminator.parameters()) == 4_017_002


def test_without_a_weight_the_first_loss_is_the_vaes(x):
    model, plain = build(gamma=0.0), build("vae")
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("discriminator")})
    of_vae = [p for name, p in model.named_parameters() if not name.startswith("discriminator")]
    ours, theirs = seeded(model.loss, x), seeded(plain.loss, x[:B])
    gradients = zip(torch.autograd.grad(ours, of_vae), torch.autograd.grad(theirs, plain.parameters()))
    assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    for a, b in gradients:
        assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_at_the_same_seed_it_starts_with_the_vaes_weights():
    for name, weight in build("vae").state_dict().items():
        assert torch.equal(weight, build().state_dict()[name])


def test_the_weight_is_of_the_log_ratio_at_the_losss_own_draws(x):
    model, plain = build(gamma=7.0), build(gamma=0.0)
    torch.manual_seed(3)
    z = model.posterior(x[:B]).rsample()
    logits = model.discriminator(z)
    expected = seeded(plain.loss, x) + 7.0 * (logits[:, 0] - logits[:, 1]).mean()
    assert_close(seeded(model.loss, x), expected, rtol=1e-12, atol=1e-12)


def test_the_discriminator_tells_draws_of_the_first_batch_from_shuffled_ones_of_the_second(x):
    model = build()
    torch.manual_seed(3)
    z, other = model.posterior(x).rsample().detach().chunk(2)
    shuffled = permuted(other)
    joint, product = torch.zeros(B).long(), torch.ones(B).long()
    expected = (
        cross_entropy(model.discriminator(z), joint) + cross_entropy(model.discriminator(shuffled), product)
    ) / 2
    loss = seeded(model.discriminator_loss, x)
    assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    loss.backward()
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None} == {"discriminator"}


def test_shuffling_keeps_each_latents_values_and_moves_each_by_itself():
    z = torch.randn(50, Z)
    shuffled = permuted(z)
    assert torch.equal(shuffled.sort(0).values, z.sort(0).values)
    places = torch.stack([(shuffled[:, j, None] == z[:, j]).byte().argmax(1) for j in range(Z)])
    assert all(not torch.equal(places[0], other) for other in places[1:])


def test_the_discriminator_has_an_optimiser_of_its_own():
    model = build()
    groups = model.parameter_groups()
    assert {name: list(rates) for name, rates in groups.items()} == {
        "model": ["lr"],
        "discriminator": ["lr_discriminator"],
    }
    assert groups["discriminator"]["lr_discriminator"] == list(model.discriminator.parameters())
    assert model.own_settings() == {"lr_discriminator": 1e-4, "betas_discriminator": (0.5, 0.9)}


def telling(draw, steps: int = 300) -> tuple[float, float]:
    """Accuracy and total correlation, by a discriminator that was trained on such codes, on 4,000 fresh ones."""
    torch.manual_seed(0)
    discriminator = Discriminator(2, (32, 32))
    adam = torch.optim.Adam(discriminator.parameters(), 3e-3)
    for _ in range(steps):
        logits = discriminator(torch.cat([draw(256), permuted(draw(256))]))
        loss = cross_entropy(logits, torch.arange(512).ge(256).long())
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.no_grad():
        joint, product = discriminator.log_ratio(draw(4000)), discriminator.log_ratio(permuted(draw(4000)))
    accuracy = ((joint > 0).double().mean() + (product <= 0).double().mean()) / 2
    return float(accuracy), float(joint.mean())


def test_of_independent_codes_there_is_nothing_to_tell():
    accuracy, total_correlation = telling(lambda n: torch.randn(n, 2))
    assert abs(accuracy - 0.5) < 4 * 0.5 / math.sqrt(8000) + 0.01  # four standard errors, and what 300 steps overfit
    assert abs(total_correlation) < 0.05


def test_of_correlated_codes_it_learns_the_total_correlation():
    r = 0.9

    def draw(n: int) -> Tensor:
        a, b = torch.randn(2, n)
        return torch.stack([a, r * a + math.sqrt(1 - r**2) * b], dim=1)

    accuracy, total_correlation = telling(draw, 800)
    assert accuracy > 0.65
    assert total_correlation == pytest.approx(-0.5 * math.log(1 - r**2), abs=0.15)  # of two Gaussians, 0.83


def test_measures_are_the_discriminators(x):
    model = build()
    look = model.look(x)
    found = {measure.name: take(x, look) for measure, take in model.measures().items()}
    assert list(found) == ["discriminator_accuracy", "total_correlation"]
    assert found["discriminator_accuracy"].shape == found["total_correlation"].shape == (2 * B,)
    assert set(found["discriminator_accuracy"].tolist()) <= {0.0, 0.5, 1.0}
    torch.nn.init.zeros_(model.discriminator.layers[-1].weight)
    model.discriminator.layers[-1].bias.data = torch.tensor([2.0, -1.0]).double()  # says "from q(z)" of all
    found = {measure.name: take(x, look) for measure, take in model.measures().items()}
    assert found["discriminator_accuracy"].tolist() == [0.5] * (2 * B)
    assert found["total_correlation"].tolist() == [3.0] * (2 * B)
