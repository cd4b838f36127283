"""Measures as a table: a model's own among them, looked at once a batch, on as many images as the preset says."""

import math

import pandas as pd
import pytest
import torch
from shapes import shape_for, splits_for
from torch import nn

import imagesets
import models
from models.base import VAE
from models.measures import Measure
from study import solo
from study.export import export
from study.record.folder import Run
from study.record.storage import open_run
from study.record.trials import reports
from study.spec import StudySpec, check
from study.spec.measures import METRICS, number_text
from study.trial import snapshot
from study.trial.evaluation import SEED, evaluate, importance_weighted, probe_accuracies
from study.trial.images import Images
from study.trial.trial import Trial

LARGEST = Measure("largest_code", "largest code", "", "more", "score", ("codes",))


@pytest.fixture
def own_measure(monkeypatch):
    """Gives every VAE a measure of its own: the largest coordinate of each image's code."""
    monkeypatch.setattr(VAE, "measures", lambda self: {LARGEST: lambda x, look: look.codes.amax(1)})


@pytest.fixture
def valid(splits) -> Images:
    return Images(splits.valid)


def model_of(name: str = "vae") -> VAE:
    torch.manual_seed(0)
    return models.build(name, shape_for(name), latent=3, hidden=8)


@pytest.mark.parametrize("name", models.names())
def test_an_evaluation_finds_the_posterior_once_a_batch(name, splits, monkeypatch):
    model, asked, valid = model_of(name), [], Images(splits_for(name, splits).valid)
    posterior = VAE.posterior
    monkeypatch.setattr(VAE, "posterior", lambda *given: asked.append(given) or posterior(*given))
    evaluate(model, valid)
    assert sum(len(x) == len(valid) for _, x, *_ in asked) == 1  # all are one batch; what else is asked, a prior asks


def test_a_models_own_measure_is_a_mean_over_images(own_measure, valid):
    model = model_of()
    found = evaluate(model, valid)
    assert list(found) == [*METRICS, "largest_code"]
    codes = torch.cat([model.codes(x) for x in valid])
    assert found["largest_code"] == pytest.approx(codes.amax(1).mean().item(), rel=1e-6)


def test_it_goes_all_the_way_and_may_be_the_objective(own_measure, raw, tmp_path):
    spec = StudySpec(**raw(trials=1, objective="largest_code"))
    run = Run(tmp_path / "tiny")
    assert solo.train(spec, run).complete == 1
    (stored,) = open_run(run, spec).study.trials
    values = {steps: report["largest_code"] for steps, report in reports(stored).items()}
    assert stored.values == [values[60]]
    assert stored.intermediate_values == values
    assert pd.read_parquet(run.table("results"))["metrics.largest_code"].tolist() == [values[60]]
    assert pd.read_parquet(run.table("curves"))["largest_code"].tolist() == list(values.values())
    card = (export(run, tmp_path / "out") / "README.md").read_text()
    assert f"| largest code | {number_text(max(values.values()))} |" in card  # the best checkpoint is the best by it


def test_one_for_the_test_set_is_taken_there_only(valid, monkeypatch):
    late = LARGEST._replace(when="confirm")
    monkeypatch.setattr(VAE, "measures", lambda self: {late: lambda x, look: look.codes.amax(1)})
    assert "largest_code" not in evaluate(model_of(), valid)
    assert "largest_code" in evaluate(model_of(), valid, test=True)


def test_the_log_likelihood_is_taken_at_a_report_where_it_is_asked_for(valid):
    model = model_of()
    plain = evaluate(model, valid, count=7)
    asked = evaluate(model, valid, count=7, asked=["log_likelihood"], samples=30)
    rows = torch.randperm(len(valid), generator=torch.Generator().manual_seed(SEED))[:7].sort().values
    alone = importance_weighted(model, valid, 30, among=rows)
    assert asked == {
        **plain,
        "log_likelihood": alone.log_likelihood.mean(),
        "effective_samples": alone.effective_samples.mean(),
    }


def test_a_model_without_an_elbo_is_compared_on_its_log_likelihood(raw, tmp_path):
    tiny = {"latent": 3, "hidden": 8, "noises": 2, "noise_hidden": 8, "discriminator_hidden": 8, "kl_warmup": 0.0}
    given = raw(model="avb", fixed=tiny, trials=1, budget={"steps": 20}, validation={"images": 20, "samples": 10})
    given["fixed"].pop("beta")
    spec = StudySpec(**given)
    assert (spec.objective, StudySpec(**raw()).objective) == ("log_likelihood", "elbo")
    run = Run(tmp_path / "tiny")
    assert solo.train(spec, run).complete == 1
    (stored,) = open_run(run, spec).study.trials
    last = reports(stored)[20]
    assert stored.values == [last["log_likelihood"]]
    assert last["adversarial_elbo"] == pytest.approx(last["reconstruction"] - last["kl"], rel=1e-6)
    for table in ("results", "curves"):
        columns = {name.removeprefix("metrics.") for name in pd.read_parquet(run.table(table))}
        assert {"log_likelihood", "effective_samples", "adversarial_elbo", "discriminator_saturation"} <= columns
        assert "elbo" not in columns
    out = export(run, tmp_path / "out")
    assert "there is no ELBO: what a discriminator estimates is no bound" in (out / "README.md").read_text()
    assert models.load(out).sample(2).shape == (2, 1, 28, 28)


@pytest.mark.parametrize("name", ["kl", "accuracy", "steps"])
def test_it_must_have_a_name_of_its_own(raw, monkeypatch, name):
    monkeypatch.setattr(VAE, "measures", lambda self: {LARGEST._replace(name=name): lambda x, look: look.codes.amax(1)})
    assert f"model: its measure {name!r} has the name of another number; call it something else" in check(raw())


def test_the_first_objective_must_be_finite_and_nothing_else(own_measure, raw, tmp_path, monkeypatch):
    monkeypatch.setattr(VAE, "measures", lambda self: {LARGEST: lambda x, look: look.codes.amax(1) * math.nan})
    one = {"trials": 1, "budget": {"steps": 20}}
    spec = StudySpec(**raw(**one, name="broken", objective="largest_code"))
    assert solo.train(spec, Run(tmp_path / "broken")).failed == 1
    (stored,) = open_run(Run(tmp_path / "broken"), spec).study.trials
    assert stored.user_attrs["cause"] == "nan: the validation largest code was not finite at step 10"
    assert solo.train(StudySpec(**raw(**one)), Run(tmp_path / "whole")).complete == 1


def test_the_elbo_is_no_objective_of_a_model_without_one(raw):
    (problem,) = check(raw(model="avb", objective="elbo", fixed={}))
    assert problem.startswith("objective: avb has no elbo, because its posterior has no density; known: reconstruction")
    assert check(raw(model="avb", objective="adversarial_elbo", fixed={})) == []


@pytest.mark.parametrize(
    ("objective", "line"),
    [
        ("kl", "objective: less kl is better, and objectives are maximised; known: elbo, reconstruction"),
        (["elbo", "kl"], "objective: less kl is better, and objectives are maximised"),
        ("accuracy", "objective: accuracy is taken on the test set only; known: elbo"),
        ("hoyr", "objective: metric 'hoyr' is not known; known: elbo"),
    ],
)
def test_what_cannot_be_an_objective_is_told_in_a_line(raw, objective, line):
    (problem,) = check(raw(objective=objective))
    assert problem.startswith(line)


def test_a_report_may_read_some_images_only_the_same_ones_in_all_trials(valid):
    model = model_of()
    read = []
    model.encoder.register_forward_hook(lambda module, inputs, output: read.append(inputs[0].clone()))
    for _ in range(2):
        evaluate(model, valid, count=7)
    first, second = read
    assert first.shape[0] == 7
    assert torch.equal(first, second)
    assert evaluate(model, valid, count=1000) == evaluate(model, valid)


def test_the_preset_says_how_many_and_the_test_set_is_read_whole(raw, tmp_path):
    trial = Trial(
        StudySpec(**raw(validation={"images": 30})), {"latent": 3}, imagesets.load("mnist5k"), seed=1, folder=tmp_path
    )
    read = []
    trial.training.model.encoder.register_forward_hook(lambda module, inputs, output: read.append(len(output)))
    trial.training.evaluate()
    trial.close()
    assert read == [30]


def test_looking_at_a_model_is_done_in_evaluation_mode_and_leaves_the_mode(valid):
    model = model_of().train()
    model.encoder.append(nn.Dropout(0.9))

    def numbers() -> list:
        labels = Images(imagesets.Split(valid._pixels.numpy(), valid._pixels.numpy()[:, 0, 0, 0] % 2))
        return [
            evaluate(model, valid),
            importance_weighted(model, valid, 3).log_likelihood.tolist(),
            probe_accuracies(model, labels, labels, classifiers=["logistic"]),
            snapshot.take(model, valid)["codes"].tolist(),
        ]

    in_training = numbers()
    assert model.training
    model.eval()
    assert numbers() == in_training
