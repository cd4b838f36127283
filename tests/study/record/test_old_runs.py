"""A run that an earlier release left half done: it is read with today's names, and goes on to the same numbers."""

import pytest
import torch
import yaml

import analysis
import imagesets
from study import solo
from study.export import best
from study.record.folder import Run
from study.record.storage import SPEC, open_run
from study.record.trials import REPORT, reports, store_report
from study.record.words import summary
from study.spec import StudySpec, dump
from study.spec.measures import EDITION, VERSIONS, current
from study.trial import checkpoint
from study.trial.seeds import derived_seed
from study.trial.trial import Trial

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # of metric names
THEN = {"reconstruction": "log_lik"}


def renamed(report: dict) -> dict:
    return {THEN.get(key, key): value for key, value in report.items() if key not in ("measures", VERSIONS)}


def aged(run: Run) -> None:
    """Writes everything in a run as the first release did."""
    study = open_run(run).study
    old = yaml.safe_load(dump(run.spec()))
    del old["validation"]
    old["objective"] = ["elbo", "log_lik"]
    run.study_yaml.write_text(yaml.safe_dump(old))
    study.set_user_attr(SPEC, yaml.safe_dump(old))
    study.set_metric_names(old["objective"])
    for trial in study.get_trials():
        for key, value in trial.user_attrs.items():
            if key.startswith(REPORT):
                study._storage.set_trial_user_attr(trial._trial_id, key, renamed(value))
    for path in run.path.glob("trials/*/*.pt"):
        state = checkpoint.load(path)
        state["report"] = renamed(state["report"])
        del state["objective"]
        torch.save(state, path)


@pytest.fixture
def half_done(raw, tmp_path) -> Run:
    """A run of one trial that was interrupted after 30 of 60 steps."""
    spec = StudySpec(**raw(trials=1, objective=["elbo", "reconstruction"]))
    run, splits = Run(tmp_path / "tiny"), imagesets.load("mnist5k")
    run.create(spec)
    study = open_run(run, spec, create=True).study
    study.enqueue_trial(spec.default_draws())
    asked = study.ask()
    seed = derived_seed(spec.seed, asked.number)
    trial = Trial(spec, spec.draw(asked), splits, seed=seed, folder=run.trial(asked.number))
    while trial.training.step < 30:
        store_report(study, asked._trial_id, trial.report())
    trial.close()
    return run


def test_it_is_read_with_todays_names(half_done):
    aged(half_done)
    spec = half_done.spec()
    assert spec.objectives == ("elbo", "reconstruction")
    opened = open_run(half_done)
    assert "log_lik" not in reports(opened.study.trials[0])[30]
    assert "1 unfinished" in summary(opened)
    frame = analysis.trials(half_done.path)
    assert frame["metrics.reconstruction"].notna().all()
    assert "metrics.log_lik" not in frame


def test_it_goes_on_to_the_numbers_of_a_run_that_was_never_old(half_done, tmp_path):
    aged(half_done)
    outcome = solo.resume(half_done)
    assert outcome.complete == 1
    spec = half_done.spec()
    (stored,) = open_run(half_done, spec).study.trials
    undisturbed = Trial(
        spec,
        spec.settings_of(stored.params),
        imagesets.load("mnist5k"),
        seed=derived_seed(spec.seed, 0),
        folder=tmp_path / "undisturbed",
    )
    while not undisturbed.done:
        expected = undisturbed.report()
    undisturbed.close()
    assert stored.values == [expected["elbo"], expected["reconstruction"]]
    assert best(open_run(half_done)).report["reconstruction"] == pytest.approx(expected["reconstruction"], abs=50)


def test_tables_and_results_of_then_are_read_with_todays_names(half_done):
    frame = analysis.trials(half_done.path).rename(columns={"metrics.reconstruction": "metrics.log_lik"})
    frame.to_parquet(half_done.table("results"), index=False)
    assert analysis.trials(half_done.path)["metrics.reconstruction"].notna().all()
    assert current({"log_lik": -3.0, "kl": 1.0}) == {"reconstruction": -3.0, "kl": 1.0}


def test_active_units_of_then_which_were_counted_on_codes_are_told_from_todays(half_done):
    aged(half_done)
    (old,) = [trial.user_attrs for trial in open_run(half_done).study.trials]
    counted = [value["active_units"] for key, value in old.items() if key.startswith(REPORT)]
    frame = analysis.curves(half_done.path)
    assert list(frame["active_codes"]) == counted
    assert "active_units" not in frame
    solo.resume(half_done)
    frame = analysis.curves(half_done.path)
    assert list(frame["active_codes"].notna()) == [True] * 3 + [False] * 3
    assert list(frame["active_units"].notna()) == [False] * 3 + [True] * 3
    assert current({"active_units": 3.0, EDITION: 2})["active_units"] == 3.0  # of the release between the two
    results = analysis.trials(half_done.path)
    assert list(results["metrics.active_units"]) == list(frame["active_units"])[-1:]
    results.drop(columns="metrics.active_codes").to_parquet(half_done.table("results"), index=False)  # an older one
    assert "metrics.active_units" not in analysis.trials(half_done.path)


def test_a_checkpoint_with_other_groups_of_parameters_is_left_out_with_a_line(raw, tmp_path):
    spec = StudySpec(**raw(trials=1, fixed={"prior": "vamp", "pseudo_inputs": 4}))
    splits = imagesets.load("mnist5k")

    def trial() -> Trial:
        return Trial(spec, spec.defaults(), splits, seed=1, folder=tmp_path / "0")

    first = trial()
    first.report()
    first.close()
    path = tmp_path / "0" / checkpoint.LAST
    state = checkpoint.load(path)
    groups = state["training"]["optimisers"]["model"]["param_groups"]
    groups[0]["params"] += groups.pop()["params"]  # as before pseudo-inputs had a rate of their own
    torch.save(state, path)
    again = trial()
    assert again.training.step == 0
    (line,) = again.take_notes()
    assert line.endswith("holds a checkpoint of an earlier release, with other groups of parameters; left out")
