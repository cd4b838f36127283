"""What an export holds: the best checkpoint of the best trial, whole or not at all."""

import json
import math
import re
import shutil
import textwrap

import ended
import pandas as pd
import pytest
import torch
import yaml
from here import TEST, made

import imagesets
import models
from models.base import VAE
from models.measures import Measure
from study.agenda import Agenda
from study.confirm import _row, jobs
from study.export import export
from study.record.folder import Run, RunError
from study.record.storage import describe_data, open_run
from study.record.trials import finish, store_report
from study.spec import StudySpec
from study.trial import checkpoint
from study.trial.evaluation import evaluate
from study.trial.images import Images
from study.trial.seeds import derived_seed
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
    assert len({path.stat().st_mode for path in out.iterdir()}) == 1  # who may read one may read all
    assert config["training"] == {"lr": 1e-2}
    card = (out / "README.md").read_text()
    assert "Trial 1 of 2 in the study `tiny`, after 20 optimiser steps" in card
    assert f"{written['elbo']:.2f}" in card


def test_where_no_trial_of_a_finished_search_is_complete_it_says_how_to_add_some(raw, tmp_path, command):
    run = Run(tmp_path / "runs" / "tiny")
    ended.searched(StudySpec(**raw(trials=2)), run, (ended.SEARCH[0], ended.SEARCH[3]))
    more = f"python -m study run {run.path} --trials +2"
    code, _, err = command("export", run.path, "--out", tmp_path / "best")
    assert (code, err) == (2, f"of tiny's 2 trials none is complete; `{more}` adds as many\n")
    assert "4 trials of" in command(*more.split()[3:], "--dry-run")[1]


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


def test_the_card_says_in_what_arithmetic_it_was_trained(searched, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda loss, **_: loss)  # which takes half a minute
    out = export(searched(precision="bf16", deterministic=True, compiled=True), tmp_path / "best")
    written = json.loads((out / "config.json").read_text())
    assert (written["precision"], written["deterministic"], written["compiled"]) == ("bf16", True, True)
    line = "| training steps in | bfloat16, by deterministic kernels, compiled; evaluated in float32 |"
    assert line in (out / "README.md").read_text()


def test_what_the_card_says_to_type_works_as_it_stands(searched, tmp_path):
    out = export(searched(), tmp_path / "best")
    lines = [line for line in (out / "README.md").read_text().splitlines() if line.startswith("    ")]
    typed = textwrap.dedent("\n".join(lines)).replace('"this folder"', repr(str(out)))
    for x in (torch.rand(2, 1, 28, 28), torch.zeros(2, 1, 28, 28, dtype=torch.uint8)):
        found = {"x": x}
        exec(typed, found)
        assert found["codes"].shape == (2, 4)
        assert found["images"].shape == (16, 1, 28, 28)


def test_the_card_begins_as_model_hubs_read_it(searched, tmp_path):
    card = (export(searched(), tmp_path / "best") / "README.md").read_text()
    _, front, text = card.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "license": "mit",
        "library_name": "latentsweep",
        "tags": ["variational-autoencoder", "vae"],
        "datasets": ["mnist5k"],
        "metrics": ["elbo"],
    }
    assert text.startswith("\n# vae on mnist5k\n")
    assert "That of these weights is for you to choose." in text


def test_the_card_says_what_the_model_is(searched, tmp_path):
    run = searched(likelihood="gaussian", preprocessing={"dequantise": True})
    out = export(run, tmp_path / "best")
    card, config = (out / "README.md").read_text(), json.loads((out / "config.json").read_text())
    made = json.loads(run.environment.read_text())
    assert config["parameters"] == sum(p.numel() for p in models.load(out).parameters())
    assert (config["commit"], config["changed"]) == (made["commit"], made["changed"])
    known = {name: release for name, release in made["packages"].items() if release is not None}
    assert config["versions"] == {"python": made["python"], **known}
    assert "Kingma & Welling (ICLR 2014)" in card
    assert f"| parameters | {config['parameters']:,} |" in card
    assert "| images | [1, 28, 28], dequantised; bytes given to the model are divided by 255 only |" in card
    assert "| data set | mnist5k |" in card
    assert "| codes | [4], the mode of the posterior; deterministic |" in card
    assert f"| commit | {made['commit']}" in card
    assert f"| versions | python {made['python']}, torch {torch.__version__}" in card


def test_the_card_of_a_combination_names_the_papers_of_its_parts(searched, tmp_path):
    out = export(searched(fixed={"posterior": "iaf", "prior": "standard", "flow_hidden": 8}), tmp_path / "best")
    card = (out / "README.md").read_text()
    assert "Kingma & Welling (ICLR 2014)" in card
    assert "The VAE with inverse autoregressive flow, Kingma, Salimans, Jozefowicz, Chen, Sutskever & Welling" in card
    assert "the mean of z_0 through the flow" in card


@pytest.mark.parametrize("left", ['{"commit": null, "lost": true}', '{"comm', None])
def test_an_export_is_written_though_nobody_knows_the_versions_any_more(searched, tmp_path, left):
    run = searched()
    run.environment.unlink()
    if left is not None:
        run.environment.write_text(left)
    out = export(run, tmp_path / "best")
    card = (out / "README.md").read_text()
    assert "| commit | not known |" in card
    assert "| versions | not known |" in card
    assert models.load(out).config["commit"] is None


def confirmed(run: Run, elbos: dict[str, list[float]], effective: float = 12.0) -> None:
    """Writes confirm.parquet: these test ELBOs, and other measures made of them; of a NaN the training failed."""
    opened = open_run(run)
    rows = []
    for job in jobs(opened):
        elbo = elbos[job.candidate.name][job.repeat]
        found = dict.fromkeys(TEST, elbo / 2) | {"elbo": elbo, "accuracy": math.nan, "effective_samples": effective}
        cause = "nan: at step 3" if math.isnan(elbo) else ""
        agenda = Agenda(run, opened.spec, [job])
        rows.append(_row(opened, agenda, job, made(opened.spec, found, cause=cause)))
    pd.DataFrame(rows).to_parquet(run.table("confirm"), index=False)


CONFIRM = {"top": 2, "seeds": 3, "samples": 8, "images": 40, "scores": []}


def test_the_card_has_the_confirmed_numbers_of_this_configuration_and_of_the_defaults(searched, tmp_path):
    run = searched(confirm=CONFIRM)
    elbos = {"defaults": [-110.0, math.nan, -114.0], "trial-1": [-100.0, -101.0, -102.5], "trial-0": [0.0, 0.0, 0.0]}
    confirmed(run, elbos)
    card = (export(run, tmp_path / "best") / "README.md").read_text()
    kind = "soft cross-entropy"
    assert "| metric | trial-1 (n = 3) | defaults (n = 2, 1 more failed) | kind |" in card
    assert f"| ELBO (nats an image) | -101.17 ± 1.26 | -112.00 ± 2.83 | {kind} |" in card
    assert f"| log p(x) (nats an image) | -50.58 ± 0.63 | -56.00 ± 1.41 | importance-weighted {kind} |" in card
    assert "| KL (nats an image) | -50.58 ± 0.63 | -56.00 ± 1.41 | estimate |" in card
    assert "with 8 draws an image, on 40 images" in card
    assert "probe" not in card  # on data without labels
    assert "best checkpoint was read once on the test set: of this checkpoint's configuration, `trial-1`" in " ".join(
        card.split()
    )
    assert "0.00 ±" not in card  # the third configuration's
    assert "\\*" not in card
    confirmed(run, elbos, effective=9.0)
    card = (export(run, tmp_path / "less") / "README.md").read_text()
    assert f"| log p(x) (nats an image) | -50.58 ± 0.63 \\* | -56.00 ± 1.41 \\* | importance-weighted {kind} |" in card
    assert "\n\\* fewer than 10 effective samples an image on average: too few to trust the number.\n" in card
    assert "| effective samples | 9.0 ± 0.0 | 9.0 ± 0.0 | score |" in card


def test_a_models_own_measure_stands_in_the_card_under_its_title_and_kind(searched, tmp_path, monkeypatch):
    gap = Measure("gap", "log-ratio", "nats", "more", "estimate")
    monkeypatch.setattr(VAE, "measures", lambda model: {gap: lambda x, look: look.elbo.kl})
    card = (export(searched(), tmp_path / "best") / "README.md").read_text()
    assert re.search(r"^\| log-ratio \(nats an image\) \| \d+\.\d{2} \| estimate \|$", card, flags=re.MULTILINE)


def test_an_older_table_is_of_the_last_state_and_may_lack_the_defaults(searched, tmp_path):
    run = searched(confirm=CONFIRM)
    confirmed(run, {name: [-100.0, -101.0, -102.5] for name in ("defaults", "trial-1", "trial-0")})
    table = pd.read_parquet(run.table("confirm")).query("configuration == 'trial-1'").drop(columns="checkpoint")
    table.rename(columns={"metrics.reconstruction": "metrics.log_lik"}).to_parquet(run.table("confirm"))
    card = (export(run, tmp_path / "best") / "README.md").read_text()
    assert "last state was read once on the test set: of this checkpoint's configuration, `trial-1`. The" in " ".join(
        card.split()
    )
    assert "| metric | trial-1 (n = 3) | kind |" in card
    assert "| log p(x given z) (nats an image) | -50.58 ± 0.63 | estimate |" in card


def test_of_a_single_seed_there_is_no_spread(searched, tmp_path):
    run = searched(confirm={**CONFIRM, "seeds": 1})
    confirmed(run, {"defaults": [-110.0], "trial-1": [-100.0], "trial-0": [0.0]})
    card = (export(run, tmp_path / "best") / "README.md").read_text()
    assert "| metric | trial-1 (n = 1) | defaults (n = 1) | kind |" in card
    assert "| ELBO (nats an image) | -100.00 | -110.00 | soft cross-entropy |" in card


def test_the_card_says_that_its_configuration_was_not_confirmed(searched, tmp_path):
    run = searched(confirm={**CONFIRM, "top": 0})
    for out in (tmp_path / "without", tmp_path / "defaults"):
        card = (export(run, out) / "README.md").read_text()
        assert "This configuration, `trial-1`, was not confirmed when this was written" in card
        assert "`python -m study confirm tiny`" in card
        confirmed(run, {"defaults": [-110.0, -111.0, -112.0]})


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


def test_settings_of_parts_that_are_not_there_are_left_out(searched, tmp_path):
    config = json.loads((export(searched(), tmp_path / "best") / "config.json").read_text())
    assert {"latent", "hidden", "posterior", "prior"} <= set(config["hyperparameters"])
    assert not {"flows", "updates", "pseudo_inputs"} & set(config["hyperparameters"])


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
