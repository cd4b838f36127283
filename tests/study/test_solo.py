"""`python -m study train`: the defaults, once, without Ray; interrupted and killed, it comes to the same numbers."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import torch
from optuna.trial import TrialState
from shapes import data_set_for, every_model

import imagesets
import searchspaces
from study import solo
from study.record import folder
from study.record.folder import Run, RunError
from study.record.storage import open_run
from study.record.trials import Outcome, reports, store_report
from study.spec import SpecError, StudySpec
from study.spec.measures import METRICS
from study.trial import checkpoint
from study.trial.seeds import derived_seed
from study.trial.training import Training
from study.trial.trial import Trial

PROJECT = Path(__file__).resolve().parents[2]
LONG, EVERY = 300, 10

some_models = every_model("model", "vae", "factor", "conjoint")


def only_trial(run: Run) -> optuna.trial.FrozenTrial:
    [trial] = open_run(run).study.get_trials()
    return trial


def numbers(reports: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """What a report says of the model; how long it took is left out."""
    kept = (*METRICS, "log_likelihood", "adversarial_elbo", "train")
    return {steps: {key: report[key] for key in kept if key in report} for steps, report in reports.items()}


def pins(model: str) -> dict[str, Any]:
    """What makes a model small, where it has that, and shows all of its training."""
    further = {"noises": 4, "noise_hidden": 16, "discriminator_hidden": 16} if model == "avb" else {}
    return {"hidden": 16, "latent": 3, "kl_warmup": 0.0, **further}


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory) -> Callable[[str], Run]:
    """A run of a model's defaults, with its sizes and nothing else pinned; ASHA and the trials do not count."""
    made: dict[str, Run] = {}

    def train(model: str) -> Run:
        if model not in made:
            asha = {"grace": 20, "reduction": 2}
            spec = small(model, trials=7, asha=asha, seed=5, fixed=pins(model))
            made[model] = Run(tmp_path_factory.mktemp("solo") / "tiny")
            solo.train(spec, made[model])
        return made[model]

    return train


@some_models
def test_it_trains_the_defaults_and_what_is_pinned(trained, model):
    run = trained(model)
    spec, trial = run.spec(), only_trial(run)
    assert (spec.trials, spec.asha) == (1, None)
    expected = {**searchspaces.defaults(model), **pins(model)}
    assert spec.settings_of(trial.params) == expected
    assert trial.params == spec.default_draws()
    assert pins(model).keys().isdisjoint(trial.params)
    assert trial.state == TrialState.COMPLETE
    assert trial.number == 0


@some_models
def test_it_equals_a_trial_by_hand_exactly(trained, model, tmp_path):
    run = trained(model)
    spec, splits = run.spec(), imagesets.load(data_set_for(model))
    trial = Trial(spec, spec.defaults(), splits, seed=derived_seed(5, 0), folder=tmp_path)
    made = {}
    while not trial.done:
        report = trial.report()
        made[report["steps"]] = report
    trial.close()
    assert list(made) == [10, 20, 30, 40, 50, 60]
    assert numbers(reports(only_trial(run))) == numbers(made)
    assert only_trial(run).values[0] == made[60][spec.objectives[0]]
    training = Training(spec, spec.defaults(), splits, seed=derived_seed(5, 0))
    training.advance(60)
    found = training.evaluate()
    assert {key: made[60][key] for key in found} == found


@some_models
def test_the_run_folder_is_of_the_same_kind_as_that_of_a_search(trained, model):
    run = trained(model)
    assert sorted(path.name for path in run.path.iterdir()) == [
        ".lock",
        "artifacts",
        "curves.parquet",
        "environment.json",
        "optuna.db",
        "results.parquet",
        "study.yaml",
        "train.parquet",
        "trials",
    ]
    [folder] = (run.path / "trials").iterdir()
    assert folder == run.trial(0)
    assert {path.name for path in folder.iterdir() if "tfevents" not in path.name} == {
        "last.pt",
        "previous.pt",
        "best.pt",
        "snapshots",
    }
    assert len(list(folder.glob("events.out.tfevents.*"))) == 2  # of the training, and of its end
    shots = [f"{steps:07d}.{kind}" for steps in range(10, 61, 10) for kind in ("npz", "png")]
    assert sorted(path.name for path in (folder / "snapshots").iterdir()) == shots


@some_models
def test_the_tables_show_it_like_any_trial(trained, model):
    run = trained(model)
    [row] = pd.read_parquet(run.table("results")).to_dict("records")
    assert (row["number"], row["state"], row["steps"], row["cause"]) == (0, "COMPLETE", 60, "")
    assert row[f"metrics.{run.spec().objectives[0]}"] == only_trial(run).values[0]
    assert {key: row[f"params.{key}"] for key in run.spec().defaults()} == run.spec().defaults()
    assert list(pd.read_parquet(run.table("curves")).steps) == [10, 20, 30, 40, 50, 60]
    assert list(pd.read_parquet(run.table("train")).step) == list(range(0, 60, 5))


def test_a_finished_run_is_not_gone_on_with(trained, command):
    run = trained("vae")
    before = checkpoint.load(run.trial(0) / checkpoint.LAST)["seconds"]
    assert solo.resume(run) == Outcome(1, 0, 0)
    code, out, _ = command("resume", run.path)
    assert code == 0
    assert "tiny is finished; there is nothing to go on with" in out
    assert only_trial(run).state == TrialState.COMPLETE  # and no second one beside it
    assert checkpoint.load(run.trial(0) / checkpoint.LAST)["seconds"] == before


def test_a_run_that_was_killed_before_its_first_trial_trains_the_defaults(trained, tmp_path):
    reference = trained("vae")
    run = Run(tmp_path / "tiny")
    run.create(reference.spec())
    assert solo.resume(run) == Outcome(1, 0, 0)
    assert only_trial(run).params == only_trial(reference).params
    assert numbers(reports(only_trial(run))) == numbers(reports(only_trial(reference)))


@pytest.mark.parametrize("step", [30, 60])
def test_a_run_that_was_killed_between_checkpoint_and_storage_misses_no_report(trained, tmp_path, monkeypatch, step):
    reference, run = trained("vae"), Run(tmp_path / "tiny")

    def store_or_die(study: optuna.Study, trial_id: int, report: dict[str, Any]) -> None:
        if report["steps"] == step:
            raise KeyboardInterrupt
        store_report(study, trial_id, report)

    with monkeypatch.context() as patch:
        patch.setattr(solo, "store_report", store_or_die)
        with pytest.raises(KeyboardInterrupt):
            solo.train(reference.spec(), run)
    assert only_trial(run).state == TrialState.RUNNING
    assert max(reports(only_trial(run)), default=0) == step - EVERY
    assert solo.resume(run) == Outcome(1, 0, 0)
    assert numbers(reports(only_trial(run))) == numbers(reports(only_trial(reference)))


def test_an_existing_run_is_refused(trained):
    run = trained("vae")
    with pytest.raises(RunError, match="exists already"):
        solo.train(run.spec(), run)


@pytest.mark.parametrize("fixed", [{"lr": 1e18}, {"lr": 1e18, "latent": 1}])
def test_a_training_that_goes_nan_fails_with_its_cause_and_exit_code_1(command, preset, tmp_path, fixed):
    code, out, err = command("train", preset(tmp_path, fixed=fixed), "--root", tmp_path / "runs")
    run = Run(tmp_path / "runs" / "tiny")
    assert code == 1
    assert err == "no trial reached the full budget\n"
    assert "tiny: 0 complete, 0 pruned, 1 failed, 0 unfinished, of 1 trial" in out
    assert "Traceback" not in out
    trial = only_trial(run)
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["cause"].startswith("nan: the ")
    assert " was not finite at step " in trial.user_attrs["cause"]
    [row] = pd.read_parquet(run.table("results")).to_dict("records")
    assert row["state"] == "FAIL"
    assert row["cause"] == trial.user_attrs["cause"]


def test_a_single_coordinate_has_no_hoyer_but_everything_else(command, preset, small, tmp_path, caplog):
    """NaN to the trial, null to the storage, missing to the tables."""
    code, _, err = command("train", preset(tmp_path, fixed={"latent": 1}), "--root", tmp_path)
    assert (code, err) == (0, "")
    assert "tensorboardX" not in {record.name.split(".")[0] for record in caplog.records}
    run = Run(tmp_path / "tiny")
    assert {report["hoyer"] for report in reports(only_trial(run)).values()} == {None}
    for name, column in (("results", "metrics.hoyer"), ("curves", "hoyer")):
        frame = pd.read_parquet(run.table(name))
        assert frame[column].isna().all()
        assert frame[column.replace("hoyer", "elbo")].notna().all()
    sparsity_too = small(fixed={"latent": 1, "hidden": 16}).model_copy(update={"objective": ["elbo", "hoyer"]})
    other = Run(tmp_path / "other")
    assert solo.train(sparsity_too, other) == Outcome(0, 0, 1)
    assert only_trial(other).user_attrs["cause"].startswith("nan: ['elbo', 'hoyer'] were [")


def test_a_gpu_that_is_not_there_is_asked_for_in_vain(command, preset, raw, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    resources = {"cpus": 1, "gpus": 0.5}
    path = preset(tmp_path, resources=resources)
    code, out, err = command("train", path, "--root", tmp_path / "runs")
    assert (code, out) == (2, "")
    assert err == (
        "tiny: resources.gpus: a trial asks for 0.5 GPUs, this machine has none; "
        "add --set resources.gpus=0 to run on CPUs\n"
    )
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(SpecError):
        solo.device(StudySpec(**raw(resources=resources)))
    assert solo.device(StudySpec(**raw())) == torch.device("cpu")


def test_alone_an_automatic_share_is_the_first_gpu_where_there_is_one(raw, monkeypatch, capsys):
    spec = StudySpec(**raw(resources={"gpus": "auto"}))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert solo.device(spec) == torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert solo.device(spec) == torch.device("cpu")
    assert capsys.readouterr().out == "resources.gpus: auto is 0, for there is no GPU; trials are on CPUs\n"
    with pytest.raises(SpecError, match="precision: tf32 is of GPUs"):
        solo.device(spec.model_copy(update={"precision": "tf32"}))


def test_where_ray_is_not_installed_the_environment_says_so(monkeypatch):
    def version(package: str) -> str:
        if package == "ray":
            raise PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(folder, "version", version)
    packages = folder.environment()["packages"]
    assert packages["ray"] is None
    assert packages["torch"] == "1.0"


# Interrupted and killed, in processes of their own.

WITHOUT_RAY = """
import sys
from study.cli import app, main
try:
    main(app)
finally:
    assert not {"ray", "ray.tune"} & set(sys.modules), "Ray was imported"
"""


@pytest.fixture(scope="module")
def begin(tmp_path_factory) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts `python -m study` and waits until so many reports are made; leaves none running."""
    started = []

    def start(*arguments: str | Path, folder: Path, reports: int) -> subprocess.Popen:
        env = {**os.environ, "PYTHONPATH": str(PROJECT)}
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", WITHOUT_RAY, *map(str, arguments)],
                cwd=folder,
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        made = set(folder.glob("runs/*/trials/*/snapshots/*.png"))
        end = time.monotonic() + 120
        while len(set(folder.glob("runs/*/trials/*/snapshots/*.png")) - made) < reports:
            assert started[-1].poll() is None, started[-1].communicate()
            assert time.monotonic() < end
            time.sleep(0.005)
        return started[-1]

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def interrupted(begin, preset, tmp_path_factory) -> dict[str, Any]:
    """A training that gets Ctrl-C, goes on, is killed, goes on again with the same command, and ends."""
    folder = tmp_path_factory.mktemp("interrupted")
    path = preset(folder, budget={"steps": LONG, "report_every": EVERY, "log_every": 100}, seed=2)
    process = begin("train", path, folder=folder, reports=3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    found = {"code": process.returncode, "out": out, "err": err}
    found["command"] = err.strip().removeprefix("stopping; go on with: python -m study ")
    arguments = shlex.split(found["command"])
    run = found["run"] = Run(folder / "runs" / "tiny")
    found["after Ctrl-C"] = only_trial(run)
    process = begin(*arguments, folder=folder, reports=3)
    process.kill()
    process.communicate()
    found["after SIGKILL"] = only_trial(run)
    process = begin(*arguments, folder=folder, reports=1)
    found["out at the end"], found["err at the end"] = process.communicate(timeout=120)
    found["code at the end"] = process.returncode
    return found


def test_ctrl_c_says_how_to_go_on_and_exits_130(interrupted):
    assert interrupted["code"] == 130
    assert interrupted["err"] == "\nstopping; go on with: python -m study resume tiny\n"
    assert "tiny: 0 complete, 0 pruned, 0 failed, 1 unfinished, of 1 trial" in interrupted["out"]


def test_the_trial_stays_unfinished_until_its_budget_is_spent(interrupted):
    first, second = interrupted["after Ctrl-C"], interrupted["after SIGKILL"]
    assert first.state == second.state == TrialState.RUNNING
    assert 0 < max(reports(first)) < max(reports(second)) < LONG


def test_it_ends_well_without_ray(interrupted):
    assert (interrupted["code at the end"], interrupted["err at the end"]) == (0, "")
    assert "tiny: 1 complete, 0 pruned, 0 failed, 0 unfinished, of 1 trial" in interrupted["out at the end"]
    assert interrupted["out at the end"].count("trial 0 ") < LONG // EVERY  # it did not begin again


def test_interrupted_and_killed_it_equals_an_undisturbed_run(interrupted, tmp_path):
    run = interrupted["run"]
    undisturbed = Run(tmp_path / "tiny")
    solo.train(run.spec(), undisturbed)
    expected = numbers(reports(only_trial(undisturbed)))
    assert list(expected) == list(range(EVERY, LONG + 1, EVERY))
    assert numbers(reports(only_trial(run))) == expected
    here, there = (checkpoint.load(r.trial(0) / checkpoint.LAST)["training"] for r in (run, undisturbed))
    assert here["step"] == there["step"] == LONG
    assert all(torch.equal(value, there["model"][key]) for key, value in here["model"].items())
