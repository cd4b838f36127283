"""What the dashboard shows of a study, and that it leaves the study alone."""

import json
import os
import re
import socket
from pathlib import Path

import optuna
import pytest
from damage import digests, study_of
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import FrozenTrial
from optuna_dashboard import get_note, wsgi

from study.dashboard import view as views
from study.dashboard.pictures import Pictures
from study.dashboard.view import View
from study.record.folder import Run
from study.record.storage import open_run
from study.record.trials import best_trial, fail, finish, reports, store_report
from study.spec.measures import PATHOLOGIES

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def view(run: Run) -> View:
    return View(open_run(run), Pictures(run))


def shown(run: Run) -> optuna.Study:
    """The study as any tool of Optuna's has it from the view."""
    return optuna.load_study(study_name="tiny", storage=view(run))


def pictures(trial: FrozenTrial) -> dict[str, str]:
    """File name -> artifact."""
    found = [json.loads(value) for key, value in trial.system_attrs.items() if key.startswith("artifacts:")]
    assert {artifact["mimetype"] for artifact in found} <= {"image/png"}
    return {artifact["filename"]: artifact["artifact_id"] for artifact in found}


@pytest.mark.parametrize("kept", [None, "journal"])
def test_trials_are_those_of_the_study(fresh, kept):
    run = fresh(kept)
    seen = shown(run)
    for trial, stored in zip(seen.trials, study_of(run).trials, strict=True):
        for name in ("number", "state", "values", "params", "distributions", "intermediate_values", "_trial_id"):
            assert getattr(trial, name) == getattr(stored, name)
    assert seen.best_trial.number == 0
    assert seen.metric_names == ["elbo"]


def test_numbers_of_the_last_report_stand_flat_and_reports_last_by_step(run):
    seen, stored = shown(run).trials, study_of(run).trials
    for trial, of in zip(seen, stored, strict=True):
        made = reports(of)
        last = made[max(made)]
        names = list(trial.user_attrs)
        for name in ("elbo", "kl", "zero_fraction", "hoyer", "seconds"):
            assert trial.user_attrs[name] == last[name]
            assert isinstance(trial.user_attrs[name], float)
        assert trial.user_attrs["steps"] == max(made)
        assert trial.user_attrs["kind"] == "soft cross-entropy"
        assert names[-len(made) :] == sorted(names)[-len(made) :] == [f"~report {step:07d}" for step in made]
        assert trial.user_attrs[names[-1]].startswith(f"elbo {last['elbo']:.2f}, kl {last['kl']:.2f}, zero_fraction 0.")
    assert [trial.user_attrs["cause"] for trial in seen] == ["", "", "lost: the worker's process ended", ""]


def test_a_pathology_is_shown_and_what_has_one_is_not_the_best(run):
    study = study_of(run)
    opened, numbers = open_run(run), next(reversed(reports(study.trials[0]).values()))
    kept, ill = {"collapsed": {"excess": 0.5, "evidence": "kl 0.1 below 0.6931"}}, opened.study.ask()
    for steps in (opened.spec.steps - 10, opened.spec.steps):
        found = {**numbers, "measures": ["elbo", "kl"], "elbo": 0.0, "steps": steps, PATHOLOGIES: kept}
        store_report(opened.study, ill._trial_id, found)
    finish(opened, ill.number, {**found, "cause": ""})
    seen = View(open_run(run), Pictures(run))
    shown_ill, *others = reversed(seen.get_all_trials(1))
    assert (shown_ill.user_attrs["pathology"], shown_ill.user_attrs["violation"]) == ("collapsed", 0.5)
    assert "kl 0.1 below 0.6931" in shown_ill.user_attrs["evidence"]
    assert shown_ill.system_attrs["constraints"] == [0.5]  # as optuna-dashboard reads them
    of_others = [trial.user_attrs.get("pathology", "") for trial in study.trials[:-1]]
    assert [trial.user_attrs["pathology"] for trial in reversed(others)] == of_others
    assert shown_ill.value > (best := seen.get_best_trial(1)).value
    assert best.number == best_trial(opened.study).number


def test_of_thousands_of_trials_no_curves_are_drawn_and_reports_stay(run, monkeypatch):
    before = shown(run).trials
    monkeypatch.setattr(views, "MOST", len(before) - 1)
    for trial, whole in zip(shown(run).trials, before, strict=True):
        assert (trial.intermediate_values, trial.user_attrs) == ({}, whole.user_attrs)
    assert all(trial.intermediate_values for trial in before)
    assert study_of(run).trials[0].intermediate_values


def test_what_was_not_drawn_is_shown_on_each_trial(run):
    spec = run.spec()
    for trial in shown(run).trials:
        fixed = {key[6:]: value for key, value in trial.user_attrs.items() if key.startswith("fixed.")}
        assert fixed == {key: value for key, value in spec.settings_of(trial.params).items() if key != "lr"}
        assert spec.fixed.items() <= fixed.items()


def test_each_trial_has_its_pictures_also_a_pruned_and_a_running_one(run):
    store = Pictures(run)
    for trial in View(open_run(run), store).get_all_trials(1):
        found = pictures(trial)
        assert list(found) == [f"step-{steps:07d}.png" for steps in reports(study_of(run).trials[trial.number])]
        for name, artifact in found.items():
            with store.open_reader(artifact) as file:
                content = file.read()
            assert content.startswith(b"\x89PNG")
            assert content == (run.trial(trial.number) / "snapshots" / name.removeprefix("step-")).read_bytes()
    other = pictures(shown(run).trials[0])
    with pytest.raises(ArtifactNotFound):  # of another dashboard; its names are of no use here
        store.open_reader(next(iter(other.values())))


def test_it_follows_a_trial_that_goes_on(run):
    seen, study = shown(run), study_of(run)
    before = seen.trials[3]
    kept = {**reports(study.trials[3])[30], "measures": ["elbo", "kl"], "steps": 40, "elbo": -1.5}
    store_report(study, study.trials[3]._trial_id, kept)
    (run.trial(3) / "snapshots" / "0000040.png").write_bytes(b"\x89PNG")
    after = seen.trials[3]
    assert (before.user_attrs["steps"], after.user_attrs["steps"], after.user_attrs["elbo"]) == (30, 40, -1.5)
    assert list(pictures(after)) == [*pictures(before), "step-0000040.png"]
    fail(open_run(run), 3, "lost: ...")
    assert seen.trials[3].state.name == "FAIL"
    assert seen.trials[3].user_attrs["cause"] == "lost: ..."


def test_the_note_says_what_the_study_is(run):
    note = re.sub(r"\\(.)", r"\1", get_note(shown(run)))
    commit = run.made_with()["commit"]
    for line in (
        "### tiny: vae on mnist5k, grey images, bernoulli likelihood",
        "- 4 trials of 60 steps",
        "latent=4",
        "- ELBO: soft cross-entropy, no bound on the log-likelihood",
        f"- commit {commit or 'not known'}",
    ):
        assert line in note


def test_no_path_of_the_machine_no_password_and_no_markup_gets_through(run, monkeypatch):
    monkeypatch.setenv("LATENTSWEEP_STORAGE", "postgresql://me:s3cr3t@host/db")
    trace = f'File "{Path(__file__)}", line 1, in f\nRuntimeError: postgresql://me:s3cr3t@host/db of {run.path}/best.pt'
    fail(open_run(run), 3, f"crash: no {run.path / 'trials'}: <script>alert(1)</script>", trace)
    seen = view(run)
    (study,) = seen.get_all_studies()
    texts = json.dumps([study.user_attrs, study.system_attrs])
    texts += json.dumps([[trial.user_attrs, trial.system_attrs] for trial in seen.get_all_trials(1)])
    for hidden in (str(run.path), str(Path(__file__).parent), os.path.expanduser("~"), "s3cr3t", socket.gethostname()):
        if len(hidden) > 3:
            assert hidden not in texts
    assert "<script>" in texts  # as the text that it is; the pages show it so
    assert 'File \\"test_view.py\\", line 1' in texts


def test_nothing_is_written_and_nobody_is_kept_out(run):
    study_of(run)  # Optuna may migrate nothing after this
    before = digests(run.path)
    seen = view(run)
    app = wsgi(seen, artifact_store=seen.pictures)
    assert app is not None
    seen.get_all_trials(1)
    for change in (
        lambda: seen.set_study_user_attr(1, "x", 1),
        lambda: seen.set_study_system_attr(1, "x", 1),
        lambda: seen.delete_study(1),
        lambda: seen.create_new_study([], "other"),
        lambda: seen.create_new_trial(1),
        lambda: seen.set_trial_user_attr(4, "x", 1),
        lambda: seen.set_trial_system_attr(4, "x", 1),
        lambda: seen.set_trial_state_values(4, optuna.trial.TrialState.FAIL),
        lambda: seen.set_trial_intermediate_value(4, 1, 1.0),
        lambda: seen.set_trial_param(4, "x", 1.0, optuna.distributions.FloatDistribution(0, 1)),
        lambda: seen.pictures.write("a", None),
        lambda: seen.pictures.remove("a"),
    ):
        with pytest.raises(PermissionError):
            change()
    assert digests(run.path) == before
    with run.locked():
        assert len(seen.get_all_trials(1)) == 4


def test_other_studies_of_the_storage_are_not_shown(run):
    other = optuna.create_study(study_name="other", storage=study_of(run)._storage)
    other.ask()
    seen = view(run)
    assert [study.study_name for study in seen.get_all_studies()] == ["tiny"]
    for ask in (
        lambda: seen.get_all_trials(other._study_id),
        lambda: seen.get_trial(5),
        lambda: seen.get_study_system_attrs(other._study_id),
        lambda: seen.get_study_id_from_name("other"),
    ):
        with pytest.raises(KeyError):
            ask()
