"""What an export holds: the best checkpoint of the best trial, whole or not at all."""

import json
import shutil
import textwrap

import pytest
import torch

import imagesets
import models
from study.export import export
from study.record.folder import Run, RunError
from study.record.storage import describe_data, open_run
from study.record.trials import finish, store_report
from study.spec import StudySpec
from study.trial import checkpoint
from study.trial.evaluation import evaluate
from study.trial.images import Images
from study.trial.training import derived_seed
from study.trial.trial import Trial


@pytest.fixture
def searched(raw, tmp_path):
    """Makes a run of two complete trials in this process; the second is the better one by its first objective."""

    def make(**changes) -> Run:
        spec = StudySpec(**raw(budget={"steps": 30}, **changes))
        run, splits = Run(tmp_path / "runs" / "tiny"), imagesets.load(spec.dataset)
        run.create(spec)
        opened = open_run(run, spec, create=True)
        study = opened.study
        describe_data(opened, splits)
        for lr in (1e-4, 1e-2):
            study.enqueue_trial({"lr": lr})
            asked = study.ask()
            folder, seed = run.trial(asked.number), derived_seed(spec.seed, asked.number)
            trial = Trial(spec, spec.draw(asked), splits, seed=seed, folder=folder)
            while not trial.done:
                report = {**trial.report(), "cause": ""}
                store_report(study, asked._trial_id, report)
                shutil.copy(folder / checkpoint.LAST, folder / f"{report['steps']}.pt")
            trial.close()
            finish(opened, asked.number, report)
        return run

    return make


def test_it_is_the_best_checkpoint_not_the_last_one(searched, tmp_path):
    run = searched()
    shutil.copy(run.trial(1) / "20.pt", run.trial(1) / checkpoint.BEST)  # as if the last report had been a worse one
    expected = checkpoint.load(run.trial(1) / "20.pt")
    out = export(run, tmp_path / "best")
    model = models.load(out)
    assert not model.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, expected["training"]["model"][key])
    written = json.loads((out / "metrics.json").read_text())
    assert written["elbo"] == expected["report"]["elbo"]
    assert evaluate(model, Images(imagesets.load("mnist5k").valid))["elbo"] == pytest.approx(written["elbo"], rel=1e-6)
    config = json.loads((out / "config.json").read_text())
    assert (config["trial"], config["steps"], config["seed"]) == (1, 20, derived_seed(0, 1))
    assert config["training"] == {"lr": 1e-2}
    card = (out / "README.md").read_text()
    assert "Trial 1 of 2 in the study `tiny`, after 20 optimiser steps" in card
    assert f"{written['elbo']:.4f}" in card


@pytest.mark.parametrize(
    ("likelihood", "kind"),
    [("bernoulli", "soft cross-entropy"), ("logistic", "bound"), ("gaussian", "density of grey levels")],
)
def test_the_card_says_what_kind_of_number_it_holds(searched, tmp_path, likelihood, kind):
    out = export(searched(likelihood=likelihood), tmp_path / "best")
    written = json.loads((out / "metrics.json").read_text())
    assert written["kind"].startswith(kind)
    assert f"Kind: {kind}" in (out / "README.md").read_text()
    assert models.load(out).hyperparameters["likelihood"] == likelihood


def test_what_the_card_says_to_type_works_as_it_stands(searched, tmp_path):
    out = export(searched(), tmp_path / "best")
    lines = [line for line in (out / "README.md").read_text().splitlines() if line.startswith("    ")]
    typed = textwrap.dedent("\n".join(lines)).replace('"this folder"', repr(str(out)))
    found = {"x": torch.rand(2, 1, 28, 28)}
    exec(typed, found)
    assert found["codes"].shape == (2, 4)
    assert found["images"].shape == (16, 1, 28, 28)


def test_a_number_that_is_not_defined_is_null_not_nan(searched, tmp_path):
    out = export(searched(fixed={"latent": 1}), tmp_path / "best")

    def refuse(constant: str):
        raise AssertionError(constant)

    written = json.loads((out / "metrics.json").read_text(), parse_constant=refuse)
    assert written["hoyer"] is None
    assert "| Hoyer sparsity of codes | not defined |" in (out / "README.md").read_text()


def test_lists_and_nothing_survive(searched, tmp_path):
    fixed = {"hidden": [12, 10], "decoder_hidden": None, "betas": [0.5, 0.9]}
    out = export(searched(fixed=fixed), tmp_path / "best")
    model = models.load(out)
    assert list(model.hyperparameters["hidden"]) == [12, 10]
    assert model.hyperparameters["decoder_hidden"] is None
    assert json.loads((out / "config.json").read_text())["training"]["betas"] == [0.5, 0.9]


def test_what_cannot_be_exported_leaves_nothing_behind(searched, tmp_path, listing):
    run = searched()
    (tmp_path / "file").touch()
    before = listing()
    with pytest.raises(RunError, match=r"cannot write .*; name another folder with --out"):
        export(run, tmp_path / "file" / "best")
    assert listing() == before

    best = run.trial(1) / checkpoint.BEST
    best.write_bytes(best.read_bytes()[:1000])
    before = listing()
    with pytest.raises(RunError, match=r"best\.pt is damaged"):
        export(run, tmp_path / "best")
    assert listing() == before

    best.unlink()
    with pytest.raises(RunError, match=r"the checkpoint of the best trial, .*best\.pt, is gone"):
        export(run, tmp_path / "best")
