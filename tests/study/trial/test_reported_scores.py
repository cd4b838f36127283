"""Scores of codes at the reports of a trial: what the images can give, and what the preset asks for."""

import numpy as np
import pytest
import torch

import metrics
import models
from imagesets import Split, Splits
from models.base import VAE
from study.spec import StudySpec, check, measures
from study.spec.measures import METRICS, SCORES
from study.trial.evaluation import coded, evaluate
from study.trial.images import Images
from study.trial.scores import Coded, How, halves, scored
from study.trial.training import Training

OF_FACTORS = {"mig", "modularity"}


@pytest.fixture
def valid(splits) -> Split:
    """The validation images, whose side is a factor, and whose number by threes another."""
    numbers = np.arange(len(splits.valid.images))
    return splits.valid._replace(factors=np.stack([numbers % 2, numbers % 3], axis=1))


@pytest.fixture
def model() -> VAE:
    torch.manual_seed(0)
    return models.build("vae", (1, 8, 8), latent=3, hidden=8).eval()


def test_images_with_factors_have_the_cheap_scores_and_others_do_not(splits, valid, model):
    plain, known = evaluate(model, Images(splits.valid)), evaluate(model, Images(valid))
    assert list(plain) == list(METRICS)
    assert {*known} - {*plain} == OF_FACTORS
    assert plain == {name: value for name, value in known.items() if name in plain}
    with torch.no_grad():
        means = torch.cat([model.posterior(x).mean for x in Images(valid)]).numpy()
    assert known["mig"] == metrics.mig(means, valid.factors)
    assert known["gaussian_total_correlation"] == metrics.total_correlation(means)
    assert OF_FACTORS.isdisjoint(evaluate(model, Images(valid), test=True))


def test_a_costly_score_is_taken_where_the_preset_names_it(valid, model):
    asked = evaluate(model, Images(valid), asked=("elbo", "factor_vae", "sap"))
    assert {*asked} - {*METRICS} == {*OF_FACTORS, "factor_vae", "sap"}
    assert asked == evaluate(model, Images(valid), asked=("sap", "factor_vae"))  # each has a random stream of its own


def test_scores_of_some_images_are_with_the_factors_of_these(valid, model):
    some = Images(valid)
    rows = torch.randperm(20, generator=torch.Generator().manual_seed(0))[:9].sort().values
    with torch.no_grad():
        means = model.posterior(some.fixed(rows)).mean.numpy()
    assert evaluate(model, some, count=9)["mig"] == metrics.mig(means, valid.factors[rows.numpy()])


def test_a_training_takes_its_objectives(raw, splits, valid):
    named = StudySpec(**raw(dataset="sprites", objective=["elbo", "explicitness"]))
    training = Training(named, {"latent": 3, "hidden": 8}, Splits(splits.train, valid, splits.test), seed=1)
    assert 0 <= training.evaluate()["explicitness"] <= 1


def test_codes_of_several_splits_stand_one_after_the_other_with_their_factors(splits, valid, model):
    means, draws = coded(model, [Images(valid), Images(valid, part="test")])
    assert means.codes.shape == draws.codes.shape == (40, 3)
    assert np.array_equal(means.codes[:20], means.codes[20:])
    assert not np.array_equal(draws.codes[:20], draws.codes[20:])
    assert np.array_equal(means.factors, np.concatenate([valid.factors] * 2))
    assert coded(model, [Images(splits.valid)])[0].factors is None


@pytest.mark.parametrize(("examples", "sizes"), [(10, (10, 5)), (200, (20, 10)), (21, (20, 10)), (1, (1, 1))])
def test_what_is_fitted_is_tested_on_half_as_many_others(examples, sizes):
    codes = np.arange(30.0)[:, None]
    train, test = halves(Coded(codes, codes.astype(int)), examples)
    assert (len(train.codes), len(test.codes)) == sizes
    assert not np.intersect1d(train.codes, test.codes).size
    assert np.array_equal(train.codes, train.factors)


def test_every_score_is_taken_as_its_metric_has_it():
    random = np.random.default_rng(1)
    factors = random.integers(0, (2, 3), (90, 2))
    table = Coded(factors + random.normal(size=(90, 2)), factors)
    names = [measure.name for score in SCORES if score.name != "udr" for measure in score.measures]
    found = scored(table, names, How(votes=30, examples=60))
    assert list(found) == names
    assert all(np.isfinite(value) for value in found.values())
    train, test = halves(table, 60)
    dci = metrics.dci(*train, test=test, trees="lightgbm")
    assert tuple(found[f"dci_{name}"] for name in metrics.DCI._fields) == dci
    assert found["beta_vae"] == metrics.beta_vae(*table, np.random.default_rng(0), votes=30)
    assert scored(table, ["sap"], How(examples=60)) == {"sap": metrics.sap(*train, test=test)}


def test_a_measure_is_of_a_newer_version_where_its_metric_is(monkeypatch):
    newer = {name: score._replace(version=3) for name, score in metrics.scores().items()}
    monkeypatch.setattr(metrics, "scores", lambda: newer)
    for name in ("hoyer", "effective_samples", "active_units"):
        today = measures.measure(name)
        assert measures._with_its_metrics_version(today).version == today.version + 2
    assert measures._scored("mig", "MIG", needs=()).measures[0].version == 3
    assert measures._with_its_metrics_version(measures.measure("elbo")).version == 1


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"objective": ["elbo", "mig"]}, "objective: mig needs factors, which mnist5k does not have; "),
        ({"objective": "dci_disentanglement"}, "objective: dci_disentanglement is taken on the test set only; known: "),
        ({"confirm": {"scores": ["dci"]}}, "confirm.scores: dci needs factors, which mnist5k does not have; "),
        (
            {"confirm": {"scores": ["udr"], "seeds": 1}},
            "confirm.scores: udr compares seeds, where confirm.seeds is 1; ",
        ),
        ({"confirm": {"scores": ["migg"]}}, "confirm.scores: score 'migg' is not known; known: mig, "),
    ],
)
def test_what_the_data_cannot_give_is_told_in_a_line(raw, changes, line):
    (problem,) = check(raw(**changes))
    assert problem.startswith(line)


def test_a_dry_run_tells_it_too(command, preset, tmp_path):
    path = preset(tmp_path, objective=["elbo", "mig"])
    code, out, err = command("run", path, "--dry-run")
    assert (code, out) == (2, "")
    assert err.startswith("tiny.yaml: objective: mig needs factors, which mnist5k does not have; ")
    assert "dsprites" in err
    assert len(err.splitlines()) == 1
