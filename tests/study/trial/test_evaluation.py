"""Evaluation: the exact form at beta = 1, the same numbers at each call; and who imports whom."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from here import TEST
from shapes import shape_for, shown_to
from torch.distributions import Independent, StudentT
from trainings import sizes

import metrics
import models
from imagesets import Split
from models import memory
from models.distributions import closed_kl, coordinates
from study.spec.measures import METRICS
from study.spec.preprocessing import Preprocessing
from study.trial import evaluation
from study.trial.evaluation import by_latent, evaluate, importance_weighted, probe_accuracies, take_all
from study.trial.images import Images
from study.trial.seeds import derived_seed

every_model = pytest.mark.parametrize("name", models.names())


@pytest.fixture
def build():
    """Makes a model whose numbers are not those of an untouched one: every parameter is moved a little."""

    def make(name: str, **settings):
        torch.manual_seed(0)
        model = models.build(name, shape_for(name), **{**sizes(name), "latent": 6, **settings})
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        return model

    return make


@pytest.fixture(scope="module")
def single():
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, (700, 1, 8, 8), dtype=np.uint8))


@pytest.fixture
def images(single, request):
    """As the model under test takes them."""
    name = getattr(request.node, "callspec", SimpleNamespace(params={})).params.get("name", "vae")
    return shown_to(name, single)


def seen(images: torch.Tensor) -> Images:
    return Images(Split(images.numpy()))


def metrics_of(model) -> list[str]:
    """Those of each report; without a density there is no ELBO."""
    return [name for name in METRICS if name != "elbo" or model.posterior_part.density != "none"]


@every_model
def test_every_call_gives_the_same_numbers(build, images, name):
    model = build(name)
    first = evaluate(model, seen(images))
    torch.manual_seed(99)
    torch.rand(1000)
    assert evaluate(model, seen(images)) == first
    assert list(first) == [*metrics_of(model), *(measure.name for measure in model.measures())]
    assert all(math.isfinite(value) for value in first.values())
    elbo = first["elbo" if "elbo" in first else "adversarial_elbo"]
    assert elbo == pytest.approx(first["reconstruction"] - first["kl"])


@every_model
def test_the_model_and_the_random_state_are_left_as_they_were(build, images, name):
    model = build(name)
    before, state = torch.get_rng_state(), {key: value.clone() for key, value in model.state_dict().items()}
    for mode in (True, False):
        model.train(mode)
        evaluate(model, seen(images))
        assert model.training is mode
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@every_model
def test_it_is_the_mean_over_images_of_the_exact_elbo(build, images, name):
    model = build(name)
    few = images[:300]  # one batch
    torch.manual_seed(evaluation.SEED)
    with torch.no_grad():
        log_lik, kl = model.elbo(few.float() / 255)
    found = evaluate(model, seen(few))
    assert found["reconstruction"] == pytest.approx(log_lik.double().mean().item(), rel=1e-6)
    assert found["kl"] == pytest.approx(kl.double().mean().item(), rel=1e-6)
    codes = model.codes(few.float() / 255).detach().numpy()
    assert found["zero_fraction"] == metrics.zero_fraction(codes)
    assert found["hoyer"] == metrics.hoyer(codes)
    means = model.posterior_part.means(model.posterior(few.float() / 255))
    assert found["active_units"] == metrics.active_units(means.detach().numpy())
    assert found["effective_latents"] == metrics.effective_latents(means.detach().numpy())
    assert found["small_fraction"] == metrics.small_fraction(codes)


def test_active_units_are_counted_on_posterior_means_not_on_codes(build, images):
    """Burda et al. (2016), Section 5.2; a spike and slab's codes are 0 wherever the spike is likelier."""
    model = build("vsc")
    with torch.no_grad():
        model.posterior_part.v.weight.zero_()
        model.posterior_part.v.bias.fill_(-0.4)  # gamma is 0.4 everywhere
        q = model.posterior(images.float() / 255)
    variances = (q.probs * q.loc).numpy().var(axis=0)
    found = evaluate(model, seen(images))
    assert found["active_units"] == (variances > 0.01).sum() > 0
    assert found["zero_fraction"] == 1


def test_the_exact_elbo_of_a_sparse_coder_is_not_the_relaxed_one(build, images):
    """This gate is relaxed in training; at the first steepness the difference is far beyond the noise of one draw."""
    model, x = build("vsc", gate="sigmoid", gamma_init=0.5, steepness=1.0), images.float() / 255
    found = evaluate(model, seen(images))
    torch.manual_seed(evaluation.SEED)
    with torch.no_grad():
        log_lik, kl = model.elbo(x, step=0)
    difference = (log_lik - kl).double()
    error = difference.std().item() / math.sqrt(len(images))
    assert abs(difference.mean().item() - found["elbo"]) > 5 * error
    assert found["zero_fraction"] > 0


@every_model
@pytest.mark.parametrize("setting", [{"beta": 4.0}, {"kl_warmup": 1.0}])
def test_the_weight_of_the_kl_does_not_enter(build, images, name, setting):
    plain, weighted = build(name), build(name, **setting)
    weighted.load_state_dict(plain.state_dict())
    assert evaluate(plain, seen(images)) == evaluate(weighted, seen(images))
    assert plain.loss(images[:9].float() / 255, 0).item() != weighted.loss(images[:9].float() / 255, 0).item()


def drawn_at_random(model) -> set[str]:
    """Metrics that depend on the draw from the posterior; a KL in closed form does not."""
    x = torch.zeros(1, *model.image_shape)
    closed = closed_kl(model.posterior(x), model.prior()) is not None
    return {"elbo", "reconstruction"} if closed else {"elbo", "reconstruction", "kl"}


@every_model
def test_what_a_split_into_batches_changes(build, images, name, monkeypatch):
    """Only which noise an image gets: what is not drawn stays, what is drawn stays within its standard error."""
    model = build(name)
    whole = evaluate(model, seen(images))
    monkeypatch.setattr(evaluation, "BATCH", 64)
    split = evaluate(model, seen(images))
    for key in set(metrics_of(model)) - drawn_at_random(model):
        assert split[key] == pytest.approx(whole[key], rel=1e-5)
    draws = [evaluate(model, seen(images), seed=seed)["reconstruction"] for seed in range(20)]
    assert abs(split["reconstruction"] - whole["reconstruction"]) < 6 * math.sqrt(2) * np.std(
        draws, ddof=1
    )  # 1 in 1e5 at 20 draws


@every_model
def test_another_seed_is_another_draw_and_nothing_else(build, images, name):
    model = build(name)
    first, second = evaluate(model, seen(images)), evaluate(model, seen(images), seed=1)
    for key in metrics_of(model):
        assert (first[key] != second[key]) is (key in drawn_at_random(model))


def test_sparsity_of_a_single_coordinate_is_not_defined(build, images):
    found = evaluate(build("vae", latent=1), seen(images))
    assert math.isnan(found["hoyer"])
    assert math.isfinite(found["elbo"])


def test_a_broken_model_gives_no_number_and_no_error(build, images):
    model = build("vae")
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    assert all(math.isnan(value) for value in evaluate(model, seen(images)).values())


@every_model
def test_all_that_is_taken_of_a_broken_model_is_no_number_and_no_error(build, images, name):
    model, labels = build(name), np.arange(40) % 3
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(math.nan)
    found = take_all(model, *(binary(images[:40], labels=labels),) * 2, samples=5, weighted=20).measures
    assert {*found} >= {*TEST} - {"elbo", "bits"}  # which not all have
    assert all(math.isnan(value) for key, value in found.items() if key in TEST)


def test_importance_weights_bound_the_likelihood_from_above_the_elbo(build, images):
    model = build("vae")
    found = evaluation.importance_weighted(model, seen(images[:200]), 50)
    assert found.log_likelihood.shape == (200,)
    assert found.log_likelihood.mean() > evaluate(model, seen(images[:200]))["elbo"]
    assert np.all((found.effective_samples >= 1) & (found.effective_samples <= 50 + 1e-9))
    again = evaluation.importance_weighted(model, seen(images[:200]), 50)
    assert np.array_equal(found.log_likelihood, again.log_likelihood)


@every_model
def test_importance_weights_are_the_models_own_with_a_stream_for_each_image(build, images, name):
    model, samples = build(name), 7
    before = torch.get_rng_state()
    found = evaluation.importance_weighted(model, seen(images[:30]), samples)
    assert torch.equal(torch.get_rng_state(), before)
    parts = []
    for number in range(30):
        torch.manual_seed(derived_seed(evaluation.SEED, number))
        parts.append(model.log_weights(images[[number]].float() / 255, samples))
    log_w_SB = torch.cat(parts, dim=1).double()
    assert log_w_SB.shape == (samples, 30)
    expected = log_w_SB.logsumexp(0) - math.log(samples)
    np.testing.assert_allclose(found.log_likelihood, expected.numpy(), rtol=1e-12)
    share = log_w_SB.softmax(0)
    np.testing.assert_allclose(found.effective_samples, (1 / share.square().sum(0)).numpy(), rtol=1e-9)
    error = torch.exp(log_w_SB - expected).std(0) / math.sqrt(samples)  # of a mean weight of 1
    np.testing.assert_allclose(found.standard_error, error.numpy(), rtol=1e-9)


@every_model
def test_an_images_importance_weights_are_the_same_whichever_others_are_read(build, images, name, monkeypatch):
    model = build(name).double()
    whole = evaluation.importance_weighted(model, InDouble(Split(images[:30].numpy())), 7)
    monkeypatch.setattr(evaluation, "BATCH", 4)
    monkeypatch.setattr(memory, "AT_ONCE", 300)
    few = evaluation.importance_weighted(model, InDouble(Split(images[:30].numpy())), 7, first=11)
    for ours, expected in zip(few, whole):
        np.testing.assert_allclose(ours, expected[:11], rtol=1e-9)


class InDouble(Images):
    """Images that a model in double precision takes."""

    def batches(self, *given):
        return (x.double() for x in super().batches(*given))


def test_where_the_code_says_nothing_every_weight_is_the_likelihood(build, images):
    """q(z|x) = p(z) and a decoder that ignores z: the ELBO is exact, and every draw counts."""
    model = build("vae")
    with torch.no_grad():
        for head in (model.posterior_part.mu, model.posterior_part.log_var):
            head.weight.zero_(), head.bias.zero_()
        [first, *_] = [layer for layer in model.decoder.modules() if isinstance(layer, torch.nn.Linear)]
        first.weight.zero_()
    found = evaluation.importance_weighted(model, seen(images[:50]), 20)
    assert found.log_likelihood.mean() == pytest.approx(evaluate(model, seen(images[:50]))["elbo"], rel=1e-5)
    np.testing.assert_allclose(found.effective_samples, 20, rtol=1e-4)


def binary(images: torch.Tensor, **changes) -> Images:
    return Images(Split((255 * (images > 127)).byte().numpy(), **changes))


def test_everything_is_taken_that_the_data_gives(build, images):
    model, labels = build("vae"), np.arange(120) % 3
    train, test = binary(images[:60], labels=labels[:60]), binary(images[60:180], labels=labels)
    found = take_all(model, train, test, samples=5, weighted=30)
    assert {*found.measures} == {*TEST}
    assert all(math.isfinite(value) for value in found.measures.values())
    weighted = importance_weighted(model, test, 5, first=30)
    error = np.sqrt((weighted.standard_error**2).sum()) / 30
    assert found.measures["log_likelihood_error"] == pytest.approx(error, rel=1e-12)
    assert found.measures["bits"] == pytest.approx(-weighted.log_likelihood.mean() / 64 / math.log(2), rel=1e-12)
    without = take_all(model, binary(images[:60]), binary(images[60:180]), samples=5, weighted=30).measures
    assert found.measures.keys() - without.keys() == {"accuracy", "accuracy_mlp"}
    grey = take_all(model, seen(images[:60]), seen(images[60:180]), samples=5, weighted=30).measures
    assert without.keys() - grey.keys() == {"bits"}  # a soft cross-entropy bounds nothing
    assert {*take_all(model, seen(images[:60]), seen(images[60:180]), samples=0, weighted=30).measures} == {
        *METRICS
    } & {*TEST}


def test_bits_of_dequantised_images_have_the_log_determinant(build, images):
    """Eight bits for the scale of x; the logits' own is in the density, `models.likelihoods.LogitImages`."""
    model = build("vae", likelihood="gaussian", logit=0.05)
    test = Images(Split(images[:40].numpy()), Preprocessing(dequantise=True, logit=0.05))
    found = take_all(model, test, test, samples=5, weighted=40).measures
    assert found["bits"] == pytest.approx(8 - found["log_likelihood"] / 64 / math.log(2), rel=1e-12)


@every_model
def test_the_latents_add_up_to_what_is_measured_of_all(build, images, name):
    model = build(name)
    found, each = evaluate(model, seen(images[:80])), by_latent(model, seen(images[:80]))
    assert sum(variance > 0.01 for variance in each["variance"]) == found["active_units"]
    assert np.mean(each["zero_fraction"]) == pytest.approx(found["zero_fraction"])
    q = model.posterior(images[:2].float() / 255)
    if coordinates(q) is None or coordinates(model.prior()) is None:
        assert np.isnan(each["kl"]).all()
        assert len(each["kl"]) == len(each["variance"])
    else:
        assert sum(each["kl"]) == pytest.approx(found["kl"], rel=1e-5)


@every_model
def test_measures_and_latents_are_of_one_look_at_an_image(build, images, name):
    model, encoded = build(name), []
    train, test = (Images(Split(part.numpy(), np.arange(len(part)) % 3)) for part in (images[:90], images[90:170]))
    measures, latents = evaluate(model, test, test=True), by_latent(model, test)
    measures["accuracy"], measures["accuracy_mlp"] = probe_accuracies(model, train, test)
    model.encoder.register_forward_hook(lambda module, given, output: encoded.append(len(output)))
    evaluate(model, test, test=True)
    once = encoded.count(80)
    found = take_all(model, train, test, samples=0, weighted=0)
    assert encoded.count(80) == 2 * once
    assert repr(found) == repr(evaluation.Tested(measures, latents))  # NaN is NaN


def test_latents_whose_kl_is_estimated_take_no_draws_from_the_measures(build, images):
    model, test = build("vae"), seen(images)
    model.posterior_part.forward = lambda model, x, step=None: Independent(
        StudentT(torch.full((len(x), 6), 5.0), model.posterior_part.mu(model.features(x)), validate_args=False), 1
    )
    measures, latents = evaluate(model, test, test=True), by_latent(model, test)
    assert take_all(model, test, test, samples=0, weighted=0) == evaluation.Tested(measures, latents)
    assert all(math.isfinite(kl) for kl in latents["kl"])


# What a small classifier reads from codes.


class Coder(torch.nn.Module):
    """Codes that follow from an image's first pixel, which is its label."""

    def __init__(self, code):
        super().__init__()
        self.code = code

    def codes(self, x):
        return self.code((x[:, 0, 0, 0] * 255).round().long())


def labelled(n: int, seed: int) -> Split:
    labels = np.random.default_rng(seed).integers(0, 10, n)
    pixels = np.zeros((n, 1, 8, 8), np.uint8)
    pixels[:, 0, 0, 0] = labels
    return Split(pixels, labels)


def probe(code, classifier="logistic", **changes) -> float:
    splits = {"train": labelled(1200, 0), "test": labelled(600, 1), **changes}
    train, test = Images(splits.pop("train")), Images(splits.pop("test"))
    [found] = probe_accuracies(Coder(code), train, test, classifiers=[classifier], **splits)
    return found


def test_perfect_codes_are_read_without_a_mistake():
    assert probe(lambda label: torch.nn.functional.one_hot(label, 10).float()) == 1.0


def test_a_code_that_no_line_reads_is_read_by_an_mlp():
    """The parity of the label, as the side of a ring's edge that a point is on."""

    def ring(label):
        angle = 2 * math.pi * torch.arange(len(label)) / 97
        return (1 + 2 * (label % 2))[:, None] * torch.stack([angle.cos(), angle.sin()], 1)

    def parity(n: int, seed: int) -> Split:
        split = labelled(n, seed)
        return split._replace(labels=split.labels % 2)

    splits = {"train": parity(1200, 0), "test": parity(600, 1)}
    assert probe(ring, **splits, classifier="mlp") > 0.9
    assert probe(ring, **splits) < 0.7


def test_the_scale_of_a_code_does_not_matter():
    assert probe(lambda label: 1e-3 * torch.nn.functional.one_hot(label, 10).float() + 40) == 1.0


@pytest.mark.parametrize("code", ["noise", "nothing"])
def test_useless_codes_are_read_at_chance(code):
    noise = torch.Generator().manual_seed(0)
    codes = {
        "noise": lambda label: torch.randn(len(label), 5, generator=noise),
        "nothing": lambda label: torch.zeros(len(label), 5),
    }
    assert abs(probe(codes[code]) - 0.1) < 5 * math.sqrt(0.1 * 0.9 / 600)  # five standard errors


def test_a_code_that_tells_two_halves_apart_is_worth_a_fifth():
    assert abs(probe(lambda label: (label >= 5).float()[:, None]) - 0.2) < 5 * math.sqrt(0.2 * 0.8 / 600)


def test_only_the_first_examples_train_it():
    train = labelled(1200, 0)
    wrong = np.concatenate([train.labels[:400], (train.labels[400:] + 1) % 10])

    def one_hot(label):
        return torch.nn.functional.one_hot(label, 10).float()

    assert probe(one_hot, train=train._replace(labels=wrong), examples=400) == 1.0
    assert probe(one_hot, train=train._replace(labels=wrong), examples=1200) < 0.1


def test_without_labels_there_is_no_accuracy():
    for part in ("train", "test"):
        assert math.isnan(probe(None, **{part: labelled(20, 2)._replace(labels=None)}))


def test_labels_that_are_all_the_same_leave_no_accuracy_and_no_error():
    one = labelled(20, 2)._replace(labels=np.full(20, 3))
    assert math.isnan(probe(lambda label: label.float()[:, None], train=one))


def test_codes_that_are_not_finite_leave_the_rest_of_an_evaluation(build, images):
    model = build("vae")
    model.posterior_part.codes = model.posterior_part.means = lambda q: torch.full((*q.batch_shape, 6), math.nan)
    found = evaluate(model, seen(images))
    of_codes = ["zero_fraction", "small_fraction", "hoyer", "active_units", "effective_latents"]
    correlations = ["gaussian_total_correlation", "wasserstein_correlation"]
    assert [key for key, value in found.items() if math.isnan(value)] == of_codes + correlations
    assert found["elbo"] == evaluate(build("vae"), seen(images))["elbo"]


IMPORTS = """
import importlib, sys

def check(modules, *absent):
    for module in modules:
        importlib.import_module(module)
        loaded = {name.split(".")[0] for name in sys.modules}
        assert not loaded & set(absent), (module, loaded & set(absent))

check(["imagesets", "models", "metrics", "models.base"], "ray", "optuna")
import imagesets, models
shapes = {name: (2, 1, 8, 8) if models.takes_pairs(name) else (1, 8, 8) for name in models.names()}
imagesets.names(), [models.build(name, shape, latent=2, hidden=4) for name, shape in shapes.items()]
trial = ["images", "training", "evaluation", "checkpoint", "snapshot", "trial"]
check(["study", "study.spec", *(f"study.trial.{file}" for file in trial)], "ray", "optuna")
record = ["folder", "sampling", "storage", "trials", "tables", "extension", "words"]
check([f"study.record.{file}" for file in record], "ray")
check(["study.export", "study.solo", "study.doctor", "study.cli", "analysis", "analysis.tables"], "ray")
import study
study.load("quickstart")
assert "ray" not in sys.modules
"""


def test_ray_is_imported_to_search_only_and_optuna_not_by_a_model(python, tmp_path):
    python("-c", IMPORTS, cwd=tmp_path)
