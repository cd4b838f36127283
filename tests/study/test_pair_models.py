"""Models of pairs through the platform: trained, resumed, evaluated, exported and loaded, both kinds and pairings."""

import math

import pandas as pd
import pytest
import torch

import imagesets
import models
from study import solo
from study.export import export
from study.record.folder import Run
from study.spec import StudySpec, check
from study.trial.evaluation import importance_weighted
from study.trial.images import images_of
from study.trial.training import Training

KINDS, PAIRINGS = ("gaussian", "adversarial"), ("index", "targets")
TINY = {"hidden": 16, "noise": 4, "noise_hidden": 16, "discriminator_hidden": 16, "discriminator_steps": 2}


@pytest.fixture
def given(raw):
    """Makes a small specification of a kind, as read from a file."""

    def make(kind: str, pairing: str = "targets", steps: int = 20, **changes):
        own = TINY if kind == "adversarial" else {"hidden": 16}
        pins = {"posterior": kind, "private": 2, "latent": 2, "kl_warmup": 0.0, **own}
        made = raw(model="conjoint", dataset="conjoint_points", pairing=pairing, budget={"steps": steps}, **changes)
        return {**made, "fixed": pins, "validation": {"images": 32, "samples": 20}}

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_from_a_training_to_an_export_that_loads(given, kind, tmp_path):
    spec, run = StudySpec(**given(kind, trials=1)), Run(tmp_path / "tiny")
    assert solo.train(spec, run).complete == 1
    [row] = pd.read_parquet(run.table("results")).to_dict("records")
    assert row["objective"] == ("elbo" if kind == "gaussian" else "log_likelihood")
    assert math.isfinite(row[f"metrics.{row['objective']}"])
    assert (kind == "adversarial") == ("metrics.adversarial_elbo" in row)
    assert kind == "gaussian" or math.isnan(row.get("metrics.elbo", math.nan))

    out = export(run, tmp_path / "best")
    model = models.load(out)
    x = images_of(imagesets.load("conjoint_points"), "test", spec.preprocessing, spec.pairing).fixed(torch.arange(5))
    codes = model.codes((x * 255).byte().numpy())
    assert torch.equal(codes, model.codes(x))
    assert codes.shape == (5, 6)
    assert list(model.slices) == ["z1", "z2", "zs"]
    for images in (model.decode(codes), model.sample(5), model.reconstruct(x)):
        assert images.shape == (5, 2, 1, 1, 8)
        assert (images.min() >= 0) & (images.max() <= 1)
    card = (out / "README.md").read_text()
    assert "paired by targets" in card
    assert ("| ELBO by the discriminator (nats an image) |" in card) == (kind == "adversarial")


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_an_adversarial_training_goes_on_to_the_bit(given, pairing):
    """Two optimisers, noise of its own in each of three updates, and pairs that change from epoch to epoch."""
    spec, splits = StudySpec(**given("adversarial", pairing)), imagesets.load("conjoint_points")
    straight, first = (Training(spec, spec.defaults(), splits, seed=1) for _ in range(2))
    straight.advance(20)  # in the second epoch
    first.advance(7)
    resumed = Training(spec, spec.defaults(), splits, seed=2)
    resumed.seed = first.seed
    resumed.load_state_dict(first.state_dict())
    resumed.advance(13)
    assert set(straight.optimisers) == {"model", "discriminator"}
    for key, value in straight.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[key], value), key
    assert straight.evaluate() == resumed.evaluate()


@pytest.mark.long
@pytest.mark.parametrize("pairing", PAIRINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_log_likelihood_exceeds_the_entropy_of_the_pairs(given, kind, pairing):
    spec, splits = StudySpec(**given(kind, pairing, steps=600)), imagesets.load("conjoint_points")
    training = Training(spec, spec.defaults() | {"lr": 5e-3}, splits, seed=1)
    training.advance(600)
    test = images_of(splits, "test", spec.preprocessing, spec.pairing)
    found, truth = importance_weighted(training.model, test, 500).log_likelihood, -math.log(16)
    if pairing == "targets":
        truth = -math.log(64)
    # The 400 test pairs are not each of the 64 equally often: a model of their own shares would have this much more.
    _, counts = torch.cat(list(test)).flatten(1).unique(dim=0, return_counts=True)
    shares = counts / counts.sum()
    more = float((shares * shares.log()).sum()) - truth
    assert found.mean() <= truth + 0.01 + more
    assert found.mean() > -16 * math.log(2)  # it has learned something: fair coins for pixels are at -11.1


def test_pairs_and_single_images_are_not_taken_for_each_other(raw):
    (problem,) = check(raw(dataset="mnist_backgrounds"))
    assert problem.startswith("dataset: mnist_backgrounds is of pairs of images, and vae takes single ones: celeba, ")
    (problem,) = check(raw(model="conjoint"))
    known = "conjoint_points, mnist_backgrounds, mnist_backgrounds_60k"
    assert problem == f"dataset: mnist5k is of single images, and conjoint takes pairs: {known}"
