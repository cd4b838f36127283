"""A real search on Ray, a small one: what the storage, the run folder and the tables hold afterwards."""

import json
import math
import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import optuna
import pandas as pd
import pytest
import ray
import readme
from events import hparams, scalars
from optuna.trial import TrialState

import analysis
import analysis.__main__
import models
import study
from analysis import simulation
from study.record.folder import Run
from study.record.storage import open_run
from study.record.trials import reports
from study.spec import StudySpec
from study.spec.measures import KEPT, METRICS, STOPPED, VERSIONS
from study.trial import checkpoint
from study.trial.seeds import derived_seed
from study.tune import runner
from study.tune.scheduler import Asha

FULL, EVERY, TRIALS = 60, 10, 12


class Searched(NamedTuple):
    run: Run
    spec: StudySpec
    study: optuna.Study
    schedulers: list[Asha]  # as the search left them
    at_work: list[int]  # processes of Ray while it searched
    left_behind: dict[int, str]  # those after it

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        return self.study.get_trials()


@pytest.fixture(scope="module")
def searched(raw, tmp_path_factory, ray_folder, ray_down) -> Searched:
    """A search of twelve trials with ASHA, in a Ray that the runner starts and shuts down."""
    spec = StudySpec(**raw(trials=TRIALS, asha={"grace": 10, "reduction": 2}, seed=3))
    schedulers, at_work = [], []

    def asha(spec: StudySpec) -> Asha:
        at_work.extend(processes.processes())
        schedulers.append(Asha(spec))
        return schedulers[-1]

    with ray_folder() as processes, pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "Asha", asha)
        folder = study.run(spec, tmp_path_factory.mktemp("runs"))
        left = processes.wait_until_gone()
    run = Run(folder)
    return Searched(run, spec, open_run(run, spec).study, schedulers, at_work, left)


def last(searched: Searched, number: int) -> dict:
    return checkpoint.load(searched.run.trial(number) / checkpoint.LAST)["report"]


def same(a, b) -> bool:
    return a == b or (a is None and math.isnan(b)) or (b is None and math.isnan(a))


# States.


def test_every_trial_ended_and_some_were_stopped(searched):
    assert [trial.number for trial in searched.trials] == list(range(TRIALS))
    states = [trial.state for trial in searched.trials]
    assert set(states) == {TrialState.COMPLETE, TrialState.PRUNED}


def test_a_trial_is_pruned_if_and_only_if_it_stopped_below_the_full_budget(searched):
    for trial in searched.trials:
        steps = last(searched, trial.number)["steps"]
        assert (trial.state == TrialState.COMPLETE) == (steps == FULL), trial.number
        assert steps == FULL or steps in searched.spec.rungs


def test_every_report_is_stored_without_gaps_and_the_last_is_that_of_the_checkpoint(searched):
    for trial in searched.trials:
        made, final = reports(trial), last(searched, trial.number)
        assert list(made) == list(range(EVERY, final["steps"] + 1, EVERY))
        stored = made[final["steps"]]
        assert set(stored) == {*METRICS, *KEPT, VERSIONS, STOPPED}
        assert all(same(stored[key], final[key]) for key in final if key not in ("steps", "measures"))
        assert [steps for steps, report in made.items() if report.get(STOPPED)] == [final["steps"]]


def test_intermediate_values_are_the_reports(searched):
    for trial in searched.trials:
        assert trial.intermediate_values == {steps: report["elbo"] for steps, report in reports(trial).items()}
        assert trial.value == reports(trial)[max(reports(trial))]["elbo"]


def test_complete_trials_have_the_last_report_as_their_value_and_the_best_is_theirs(searched):
    complete = [trial for trial in searched.trials if trial.state == TrialState.COMPLETE]
    assert searched.study.best_trial.number == max(complete, key=lambda trial: trial.value).number
    assert searched.study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert searched.study.metric_names == ["elbo"]


def test_only_what_is_drawn_is_a_parameter(searched):
    for trial in searched.trials:
        assert set(trial.params) == set(searched.spec.distributions()) == {"lr"}
        settings = checkpoint.load(searched.run.trial(trial.number) / checkpoint.LAST)["settings"]
        assert settings == searched.spec.settings_of(trial.params)
        assert {**searched.spec.fixed, **trial.params}.items() <= settings.items()


def test_the_rungs_can_be_refilled_from_the_storage(searched):
    (live,) = searched.schedulers
    refilled = Asha(searched.spec)
    for trial in searched.trials:
        refilled.refill(trial)
    assert refilled.cutoffs() == live.cutoffs()
    assert [(steps, sorted(found.values())) for steps, found in refilled.rungs] == [
        (steps, sorted(found.values())) for steps, found in live.rungs
    ]


def test_a_replay_in_the_order_of_its_reports_gives_its_decisions_back(searched):
    """Two trials were at work at once, so that the times of their reports do not say who was judged first."""
    curves = analysis.curves(searched.run.path)
    assert sorted(curves["place"]) == list(range(len(curves)))
    pruned = {trial.number: trial.last_step for trial in searched.trials if trial.state == TrialState.PRUNED}
    assert simulation.own_decisions(searched.spec, curves) == pruned


def test_a_pruned_trial_was_among_the_worse_half_of_its_rung(searched):
    for trial in searched.trials:
        for rung in searched.spec.rungs:
            at = [reports(t)[rung]["elbo"] for t in searched.trials if rung in reports(t)]
            if trial.state == TrialState.PRUNED and max(reports(trial)) == rung:
                assert reports(trial)[rung]["elbo"] < max(at)


def test_the_time_of_work_grows_from_report_to_report(searched):
    for trial in searched.trials:
        seconds = [report["seconds"] for report in reports(trial).values()]
        assert seconds[0] > 0
        assert seconds == sorted(seconds)


def test_no_process_of_ray_is_left_behind(searched):
    assert searched.at_work
    assert searched.left_behind == {}
    assert not ray.is_initialized()


# Files.


def test_the_run_folder_holds_what_it_should(searched):
    found = {path.name for path in searched.run.path.iterdir()}
    assert {"study.yaml", "environment.json", "optuna.db", "trials", "ray"} <= found
    assert {"results.parquet", "curves.parquet", "train.parquet"} <= found
    assert found <= readme.of_a_run()
    assert searched.run.spec() == searched.spec
    environment = json.loads(searched.run.environment.read_text())
    assert environment["packages"]["optuna"] == optuna.__version__
    for trial in searched.trials:
        names = {path.name.split(".")[0] for path in searched.run.trial(trial.number).iterdir()}
        assert {"last", "best", "events", "snapshots"} <= names
    leftovers = [path for path in searched.run.path.rglob(".*") if path.name != ".lock" and path.is_file()]
    assert [path for path in leftovers if "ray" not in path.parts] == []


def test_the_best_checkpoint_is_that_of_the_highest_elbo(searched):
    for trial in searched.trials:
        made = {steps: report["elbo"] for steps, report in reports(trial).items()}
        best = checkpoint.load(searched.run.trial(trial.number) / checkpoint.BEST)
        assert best["report"]["elbo"] == max(made.values())
        assert made[best["training"]["step"]] == max(made.values())


def test_tensorboard_shows_every_report_and_every_logged_loss(searched):
    for trial in searched.trials:
        shown = scalars(searched.run.trial(trial.number))
        assert set(shown) == {"train/loss_elbo", *(f"valid/{key}" for key in METRICS)}
        assert shown["valid/elbo"] == pytest.approx(trial.intermediate_values, rel=1e-6)
        assert list(shown["train/loss_elbo"]) == list(range(0, max(shown["valid/elbo"]), 5))
        assert len(hparams(searched.run.trial(trial.number))) == 2  # its configuration, and its end


# Tables.


def test_curves_are_the_reports_value_by_value(searched):
    curves = analysis.curves(searched.run.path)
    stored = {(trial.number, steps): r for trial in searched.trials for steps, r in reports(trial).items()}
    assert len(curves) == len(stored)
    for row in curves.to_dict("records"):
        report = stored[row["number"], row["steps"]]
        assert all(same(row[key], report[key]) for key in (*METRICS, "seconds"))
        assert searched.trials[row["number"]].intermediate_values[row["steps"]] == row["elbo"]


def test_results_are_the_trials(searched):
    results = analysis.trials(searched.run.path).set_index("number")
    assert list(results.index) == list(range(TRIALS))
    commit = json.loads(searched.run.environment.read_text())["commit"]
    for trial in searched.trials:
        row, final = results.loc[trial.number], last(searched, trial.number)
        assert (row["study"], row["model"], row["dataset"], row["likelihood"]) == (
            "tiny",
            "vae",
            "mnist5k",
            "bernoulli",
        )
        assert (row["state"], row["cause"], row["steps"]) == (trial.state.name, "", final["steps"])
        assert row["kind"] == "soft cross-entropy"  # grey images
        assert row["commit"] == commit
        assert row["seed"] == derived_seed(searched.spec.seed, trial.number)
        assert row["params.lr"] == trial.params["lr"]
        assert (row["params.latent"], row["params.hidden"], row["params.beta"]) == (4, 16, 1.0)
        assert all(same(row[f"metrics.{key}"], final[key]) for key in METRICS)
        assert row["seconds"] == final["seconds"]


def test_train_holds_the_logged_losses(searched):
    train = analysis.train(searched.run.path)
    assert list(train.columns) == ["study", "number", "step", "loss_elbo"]
    for trial in searched.trials:
        mine = train[train["number"] == trial.number]
        assert list(mine["step"]) == list(range(0, last(searched, trial.number)["steps"], 5))
        stored = [losses["elbo"] for report in reports(trial).values() for _, losses in report["train"]]
        assert list(mine["loss_elbo"]) == stored


def test_a_table_is_rebuilt_when_it_is_older_than_the_study_and_only_then(searched, tmp_path):
    run = Run(shutil.copytree(searched.run.path, tmp_path / "copy", ignore=shutil.ignore_patterns("ray", "trials")))
    table = run.table("results")
    expected = pd.read_parquet(table).assign(study="copy")
    os.utime(table, ns=(0, 0))
    table.write_bytes(b"")
    os.utime(table, ns=(0, 0))
    pd.testing.assert_frame_equal(analysis.trials(run.path), expected)

    expected.head(3).to_parquet(table)
    newer = run.database.stat().st_mtime_ns + 1
    os.utime(table, ns=(newer, newer))
    assert len(analysis.trials(run.path)) == 3
    table.unlink()
    assert len(analysis.trials(run.path)) == TRIALS


def test_a_table_made_while_the_study_goes_on_does_not_pass_for_a_whole_one(searched, tmp_path):
    """A reader may finish writing after the study was changed once more: its table is older then."""
    from study.record import tables

    run = Run(shutil.copytree(searched.run.path, tmp_path / "copy", ignore=shutil.ignore_patterns("ray", "trials")))
    tables.write(run)
    assert tables.fresh(run, "results")
    now = time.time_ns()
    os.utime(run.database, ns=(now, now))
    assert not tables.fresh(run, "results")


def test_the_table_is_printed(searched, command):
    code, out, err = command("table", searched.run.path, app=analysis.__main__.app)
    assert (code, err) == (0, "")
    assert out.count("COMPLETE") + out.count("PRUNED") == TRIALS
    assert out.splitlines()[0].split()[:3] == ["number", "state", "steps"]
    best = searched.study.best_trial
    assert out.splitlines()[1].split()[0] == str(best.number)
    assert "soft cross-entropy" in out


def test_the_table_is_written_as_csv(searched, command, tmp_path):
    code, _, _ = command("table", searched.run.path, "--csv", tmp_path / "all.csv", app=analysis.__main__.app)
    assert code == 0
    assert len(pd.read_csv(tmp_path / "all.csv")) == TRIALS


# Afterwards.


def test_resuming_a_finished_run_says_so_and_starts_no_ray(searched, command, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("Ray was started")

    before = searched.trials
    monkeypatch.setattr("ray.init", refuse)
    code, out, _ = command("resume", searched.run.path)
    assert code == 0
    assert "finished" in out
    assert searched.trials == before


def test_status_says_where_it_stands(searched, command):
    code, out, err = command("status", searched.run.path)
    complete = sum(trial.state == TrialState.COMPLETE for trial in searched.trials)
    assert (code, err) == (0, "")
    assert f"{complete} complete, {TRIALS - complete} pruned, 0 failed" in out


def test_running_it_again_is_refused_and_names_the_ways_on(searched, command, preset, tmp_path):
    path = preset(tmp_path, trials=TRIALS)
    code, _, err = command("run", path, "--root", searched.run.path.parent)
    assert code == 2
    assert "exists already" in err
    assert "study resume" in err
    assert "--set name=" in err


EVALUATE = """
import json, sys
import imagesets, models
from study.trial.evaluation import evaluate
from study.trial.images import Images

model = models.load(sys.argv[1])
found = evaluate(model, Images(imagesets.load("mnist5k").valid))
assert not {"ray", "optuna"} & {name.split(".")[0] for name in sys.modules}
print(json.dumps(found))
"""


def test_the_exported_model_loads_elsewhere_without_ray_and_gives_its_numbers(searched, command, python, tmp_path):
    code, out, _ = command("export", searched.run.path, "--out", tmp_path / "best" / "tiny")
    assert code == 0
    assert "models.load" in out
    moved = shutil.move(tmp_path / "best" / "tiny", tmp_path / "moved")
    assert {path.name for path in Path(moved).iterdir()} == {
        "model.safetensors",
        "config.json",
        "metrics.json",
        "README.md",
    }
    written = json.loads((moved / "metrics.json").read_text())
    best = searched.study.best_trial
    assert written["elbo"] == max(best.intermediate_values.values())
    assert written["kind"] == "soft cross-entropy"

    found = json.loads(python("-c", EVALUATE, str(moved), cwd=tmp_path).stdout)
    assert found == pytest.approx({key: written[key] for key in METRICS}, rel=1e-5)

    config = json.loads((moved / "config.json").read_text())
    assert (config["model"], config["trial"], config["training"]) == ("vae", best.number, {"lr": best.params["lr"]})
    assert config["hyperparameters"]["latent"] == 4
    loaded = models.load(moved)
    assert loaded.sample(2).shape == (2, 1, 28, 28)
    code, _, err = command("export", searched.run.path, "--out", moved)
    assert code == 2
    assert "exists already; name another folder with --out" in err
