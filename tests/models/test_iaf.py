"""What is the autoregressive flow's own: its masks, its determinant, its context, and whose density it knows."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import models
from models import base
from models.iaf import Made

SHAPE = (1, 8, 8)
B, Z = 5, 6

pytestmark = pytest.mark.usefixtures("float64")


def build(**settings):
    settings = {"latent": Z, "hidden": 12, "flows": 3, "flow_hidden": 64, **settings}
    return models.build("iaf", SHAPE, **settings)


@pytest.fixture
def x() -> Tensor:
    return torch.rand(B, *SHAPE)


def jacobian(f, z: Tensor) -> Tensor:
    """Of f: [Z] to [Z], at every row of z."""
    return torch.stack([torch.func.jacrev(lambda row, i=i: f(row, i))(z[i]) for i in range(len(z))])


@pytest.mark.parametrize("context", [True, False])
@pytest.mark.parametrize("flows", [0, 1, 2, 3, 4])
def test_the_density_is_the_bases_over_the_determinant(flows, context, x):
    q = build(flows=flows, context=context).posterior(x)
    noise = torch.randn(B, Z)
    z = q.rsample(noise=noise)
    log_q, z0 = q.log_prob(z), q.base.rsample(noise=noise)

    def flow(row: Tensor, i: int) -> Tensor:
        q.contexts, kept = [c[i : i + 1] for c in q.contexts], q.contexts
        result = q._flow(row[None])[0][0]
        q.contexts = kept
        return result

    log_det = torch.linalg.slogdet(jacobian(flow, z0)).logabsdet
    assert_close(log_q - q.base.log_prob(z0), -log_det, rtol=1e-10, atol=1e-10)
    assert flows == 0 or (log_det < -0.1).all()


@pytest.mark.parametrize("context", [True, False])
def test_every_output_sees_all_coordinates_before_its_own_and_no_other(context):
    made = Made(Z, 200, 3 if context else 0, 2.0)
    torch.nn.init.normal_(made.inputs.weight)
    z, h = torch.randn(B, Z), torch.randn(B, 3)
    added = made.at(h)
    for output in (0, 1):
        j = jacobian(lambda row, i, output=output: made(row[None], added[i : i + 1])[output][0], z)
        assert (j.triu() == 0).all()
        assert (j.abs().amax(0)[torch.ones(Z, Z).tril(-1) == 1] > 0).all()


@pytest.mark.parametrize("context", [True, False])
def test_a_step_is_triangular_with_s_on_the_diagonal(context, x):
    q = build(context=context, flows=1).posterior(x)
    z = torch.randn(B, Z)
    _, logit_s = q.steps[0](z, q.contexts[0])

    def step(row: Tensor, i: int) -> Tensor:
        m, s = q.steps[0](row[None], q.contexts[0][i : i + 1])
        return (s.sigmoid() * row + (-s).sigmoid() * m)[0]

    j = jacobian(step, z)
    assert (j.triu(1) == 0).all()
    assert_close(j.diagonal(dim1=-2, dim2=-1), logit_s.sigmoid(), rtol=1e-12, atol=1e-12)


def test_the_context_reaches_every_output_the_first_one_too(x):
    model = build(flows=1)
    made, z = model.posterior_part.steps[0], torch.randn(1, Z).expand(B, Z)  # the same code for all images
    for output in made(z, made.at(model.features(x))):
        assert (output.std(0) > 1e-4).all()


def test_without_a_context_the_steps_are_the_same_for_all_images(x):
    model = build(flows=1, context=False)
    made, z = model.posterior_part.steps[0], torch.randn(1, Z).expand(B, Z)
    assert not any("context" in key for key, _ in model.named_parameters())
    for output in made(z, made.at(model.features(x))):
        assert_close(output, output[:1].expand(B, Z), rtol=1e-14, atol=1e-14)


def test_masked_weights_get_no_gradient_and_change_nothing(x):
    model = build()
    model.loss(x, 0).backward()
    noise = torch.randn(B, Z)
    before = model.posterior(x).rsample(noise=noise)
    for made in model.posterior_part.steps:
        for layer, mask in ((made.inputs, made.see), (made.m, made.shown), (made.logit_s, made.shown)):
            assert 0 < mask.mean() < 1
            assert (layer.weight.grad[mask == 0] == 0).all()
            assert (layer.weight.grad[mask == 1] != 0).double().mean() > 0.9
            with torch.no_grad():
                layer.weight[mask == 0] = 1e6
    assert_close(model.posterior(x).rsample(noise=noise), before, rtol=0, atol=0)


@pytest.mark.parametrize(("latent", "context", "degrees"), [(6, True, range(6)), (6, False, range(1, 6))])
def test_degrees_are_drawn_from_all_that_serve(latent, context, degrees):
    made = Made(latent, 500, 3 if context else 0, 2.0)
    assert set(made.see.sum(1).int().tolist()) == set(degrees)
    assert_close(made.shown.sum(0), latent - made.see.sum(1), rtol=0, atol=0)  # what one does not see it is shown to


@pytest.mark.parametrize("context", [True, False])
@pytest.mark.parametrize("latent", [1, 2])
def test_small_codes(latent, context, x):
    model = build(latent=latent, context=context)
    assert torch.isfinite(model.elbo(x).kl).all()
    q = model.posterior(x)
    z = q.rsample()
    assert q.log_prob(z).shape == (B,)


@pytest.mark.parametrize("flows", [0, 1, 2, 3, 4])
def test_coordinates_keep_their_order(flows, x):
    q = build(flows=flows, gate_bias=40.0).posterior(x)  # s = 1: every step is the identity
    noise = torch.randn(B, Z)
    assert_close(q.rsample(noise=noise), q.base.rsample(noise=noise), rtol=0, atol=1e-9)


def test_the_order_is_reversed_between_steps(x):
    q = build(flows=2).posterior(x)
    reached = jacobian(lambda row, i: q._flow(row.expand(B, Z))[0][i], q.base.loc).abs().amax(0)
    assert (reached > 0).all()  # one step is triangular, and two in the same order were


@pytest.mark.parametrize("gate_bias", [-1.0, 0.0, 3.0])
def test_the_gate_starts_where_asked(gate_bias):
    for init in ("torch", "vlae", "glorot"):
        for made in build(gate_bias=gate_bias, init=init).posterior_part.steps:
            assert_close(made.logit_s.bias, torch.full((Z,), gate_bias), rtol=0, atol=0)
            assert made.m.bias.std() > 0.1


def test_draws_by_the_batch_are_those_one_by_one(x):
    q, noise = build().posterior(x), torch.randn(3, 2, B, Z)
    z = q.rsample(noise=noise)
    log_q = q.log_prob(z)
    for s in range(3):
        for t in range(2):
            one = q.rsample(noise=noise[s, t])
            assert_close(one, z[s, t], rtol=1e-12, atol=1e-12)
            assert_close(q.log_prob(one), log_q[s, t], rtol=1e-12, atol=1e-12)
    assert q.rsample((3, 2)).shape == q.sample((3, 2)).shape == (3, 2, B, Z)


def test_the_density_of_another_point_is_refused_with_the_reason(x):
    q = build().posterior(x)
    with pytest.raises(ValueError, match="density of its own last draws only"):
        q.log_prob(torch.randn(B, Z))
    z = q.rsample()
    assert q.log_prob(z).shape == (B,)
    for other in (z.clone(), z + 0, z[:2]):
        with pytest.raises(ValueError, match="one pass a coordinate"):
            q.log_prob(other)
    q.sample()
    with pytest.raises(ValueError, match="own last draws"):
        q.log_prob(z)


def test_looking_at_the_codes_does_not_lose_the_last_draws(x):
    q = build().posterior(x)
    z = q.rsample()
    log_q = q.log_prob(z)
    assert q.centre.shape == (B, Z)
    assert torch.equal(q.log_prob(z), log_q)


def test_codes_are_the_bases_mean_through_the_flow(x):
    model = build()
    q = model.posterior(x)
    assert_close(model.codes(x), q.rsample(noise=torch.zeros(B, Z)), rtol=0, atol=0)


def test_the_context_is_computed_once_however_many_draws(x, monkeypatch):
    model, calls = build(flows=3), []
    for made in model.posterior_part.steps:
        made.context.register_forward_hook(lambda module, inputs, output: calls.append(len(output)))
    monkeypatch.setattr(base, "DRAWN", 2 * B)
    model.log_weights(x, 40)  # in twenty chunks
    assert calls == [B] * 3


def test_masks_travel_with_the_state(x):
    model = build()
    torch.manual_seed(5)
    other = build()
    assert not torch.equal(other.posterior_part.steps[0].see, model.posterior_part.steps[0].see)
    other.load_state_dict(model.state_dict())
    noise = torch.randn(B, Z)
    assert torch.equal(other.posterior(x).rsample(noise=noise), model.posterior(x).rsample(noise=noise))
