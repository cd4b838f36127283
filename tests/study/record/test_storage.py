"""The storage: made whole, one truth, and what a report becomes in it."""

import math
import threading

import optuna
import pytest
from optuna.trial import TrialState

from study.record import folder, storage
from study.record.folder import Run, RunError
from study.record.storage import open_run
from study.record.trials import Outcome, best_trial, fail, finish, outcome, owed, reports, store_report
from study.spec import SpecError, StudySpec
from study.spec.measures import METRICS, VERSIONS, versions


@pytest.fixture
def make(raw, tmp_path):
    """Makes a run with a study, open."""

    def new(**changes):
        spec = StudySpec(**raw(**changes))
        run = Run(tmp_path / "runs" / "tiny")
        run.create(spec)
        return open_run(run, spec, create=True)

    return new


def report(steps: int, **metrics) -> dict:
    train = [[0, {"model": 1.5}]]
    return {
        **dict.fromkeys(METRICS, 0.5),
        "measures": list(METRICS),
        **metrics,
        "steps": steps,
        "seconds": 1.0,
        "train": train,
        "cause": "",
    }


# Making it.


def test_of_runs_that_start_at_once_under_one_name_in_one_storage_all_but_one_are_refused(raw, tmp_path):
    spec, said = StudySpec(**raw(storage=f"sqlite:///{tmp_path / 'all.db'}")), list[str]()
    runs, gate = [Run(tmp_path / str(i) / "tiny") for i in range(4)], threading.Barrier(4)
    storage.check_storage_is_new(spec)  # which each of them found

    def start(run: Run) -> None:
        gate.wait()
        try:
            storage.create(run, spec)
        except SpecError as error:
            said.append(str(error))

    started = [threading.Thread(target=start, args=(run,)) for run in runs]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    assert said == ["tiny: storage: holds a study of this name already; name another with --set name=..."] * 3
    (made,) = [run for run in runs if run.path.exists()]
    assert open_run(made).study.trials == []


def test_of_runs_that_start_at_once_in_one_folder_all_but_one_are_refused(raw, tmp_path, monkeypatch):
    run = Run(tmp_path / "tiny")

    def environment() -> dict:
        run.path.mkdir()  # another process's, which is a moment earlier
        run.study_yaml.touch()
        return {}

    monkeypatch.setattr(folder, "environment", environment)
    with pytest.raises(RunError, match="exists already; go on with `python -m study resume"):
        storage.create(run, StudySpec(**raw()))
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_readers_see_no_database_or_a_whole_one(raw, tmp_path, monkeypatch):
    """Optuna makes its tables in several steps; a reader in between brings itself and the maker down."""
    spec, run, seen = StudySpec(**raw()), Run(tmp_path / "tiny"), []
    run.create(spec)
    create = optuna.create_study

    def watched(*arguments, **options):
        study = create(*arguments, **options)
        with pytest.raises(RunError, match="has no study yet"):
            open_run(run, spec)
        seen.append(study)
        return study

    monkeypatch.setattr(optuna, "create_study", watched)
    study = open_run(run, spec, create=True).study
    assert len(seen) == 1
    assert study.study_name == "tiny"
    assert open_run(run, spec).study.metric_names == ["elbo"]
    names = {path.name for path in run.path.iterdir()}
    assert names == {"study.yaml", "environment.json", "optuna.db"}


def test_it_is_made_once(make):
    run, spec, study = make()
    study.ask()
    assert len(open_run(run, spec, create=True).study.get_trials()) == 1


def test_it_may_lie_elsewhere(make, tmp_path):
    run, spec, study = make(storage=f"sqlite:///{tmp_path / 'elsewhere.db'}")
    study.ask()
    assert not run.database.exists()
    assert (tmp_path / "elsewhere.db").is_file()
    assert len(open_run(run, spec).study.get_trials()) == 1


# Reports.

OWN = ("measures", "steps", "cause")  # of a report, and not stored in it


def test_a_report_is_kept_whole_and_its_value_beside_it(make):
    run, spec, study = make()
    trial = study.ask()
    for steps in (20, 10, 100):
        store_report(study, trial._trial_id, report(steps, elbo=-float(steps)))
    (stored,) = open_run(run, spec).study.get_trials()
    assert list(reports(stored)) == [10, 20, 100]
    whole = {key: value for key, value in report(20, elbo=-20.0).items() if key not in OWN}
    assert reports(stored)[20] == {**whole, VERSIONS: versions(METRICS)}
    assert stored.intermediate_values == {10: -10.0, 20: -20.0, 100: -100.0}


def test_a_report_that_is_made_again_takes_the_place_of_the_first(make):
    _, _, study = make()
    trial = study.ask()
    for elbo in (-3.0, -2.0):
        store_report(study, trial._trial_id, report(10, elbo=elbo))
    (stored,) = study.get_trials()
    assert reports(stored)[10]["elbo"] == -2.0
    assert stored.intermediate_values == {10: -2.0}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_kept_as_nothing(make, value):
    _, _, study = make()
    trial = study.ask()
    store_report(study, trial._trial_id, report(10, elbo=value))
    (stored,) = study.get_trials()
    assert reports(stored)[10]["elbo"] is None
    assert stored.intermediate_values == {}


def test_several_objectives_have_no_intermediate_values(make):
    _, _, study = make(objective=["elbo", "hoyer"])
    trial = study.ask()
    store_report(study, trial._trial_id, report(10))
    (stored,) = study.get_trials()
    assert stored.intermediate_values == {}
    assert list(reports(stored)) == [10]


# Ends.


@pytest.mark.parametrize(("steps", "state"), [(50, TrialState.PRUNED), (60, TrialState.COMPLETE)])
def test_a_trial_is_complete_at_the_full_budget_only(make, steps, state):
    opened = make()
    study = opened.study
    store_report(study, study.ask()._trial_id, report(steps, elbo=-7.0))
    finish(opened, 0, report(steps, elbo=-7.0))
    (stored,) = study.get_trials()
    assert (stored.state, stored.value) == (state, -7.0)


def test_several_objectives_are_told_in_their_order(make):
    opened = make(objective=["hoyer", "elbo"])
    study = opened.study
    study.ask()
    finish(opened, 0, report(60, elbo=-7.0, hoyer=0.25))
    assert study.get_trials()[0].values == [0.25, -7.0]


def test_a_cause_is_a_failure_whatever_the_step(make):
    opened = make()
    study = opened.study
    study.ask()
    finish(opened, 0, {**report(60), "cause": "nan: the loss ..."})
    (stored,) = study.get_trials()
    assert stored.state == TrialState.FAIL
    assert stored.user_attrs["cause"] == "nan: the loss ..."


def test_an_objective_that_is_not_a_number_at_the_end_is_a_failure(make):
    opened = make(objective="hoyer")
    study = opened.study
    study.ask()
    finish(opened, 0, report(60, hoyer=math.nan))
    (stored,) = study.get_trials()
    assert stored.state == TrialState.FAIL
    assert stored.user_attrs["cause"].startswith("nan: ")
    assert stored.user_attrs["cause"].endswith("at step 60")


def test_outcome_owed_and_best(make):
    opened = make(trials=5)
    study = opened.study
    assert owed(opened) == 5
    assert best_trial(study) is None
    for _ in range(4):
        study.ask()
    finish(opened, 0, report(60, elbo=-9.0))
    finish(opened, 1, report(60, elbo=-8.0))
    finish(opened, 2, report(10, elbo=-1.0))
    fail(opened, 3, "lost: ...")
    study.ask()
    assert outcome(study) == Outcome(2, 1, 1)
    assert owed(opened) == 1  # the running one
    assert best_trial(study).number == 1


def test_the_kind_of_number_is_noted(make, splits):
    opened = make()
    storage.describe_data(opened, splits)
    assert opened.study.user_attrs[storage.KIND] == "soft cross-entropy"


# What a driver that died had decided.

ONE, SEVERAL = {"objective": "elbo"}, {"objective": ["elbo", "hoyer"]}
ENDED = {"elbo": -7.0, "hoyer": 0.25}


@pytest.mark.parametrize("objective", [ONE, SEVERAL], ids=["one", "several"])
@pytest.mark.parametrize(
    ("made", "state", "steps"),
    [
        ([report(10), {**report(20, **ENDED), "done": True}], TrialState.PRUNED, 20),  # ASHA stopped it
        ([report(50), {**report(60, **ENDED), "done": True}], TrialState.COMPLETE, 60),
        ([report(50), report(60, **ENDED)], TrialState.COMPLETE, 60),
        ([{**report(20, **ENDED), "done": True}, report(10)], TrialState.PRUNED, 20),  # an older one came again
        ([report(10), report(20)], TrialState.RUNNING, 20),
        ([report(50), {**report(50), "done": False}], TrialState.RUNNING, 50),
        ([], TrialState.RUNNING, 0),
    ],
)
def test_an_end_that_was_reported_is_told_when_the_run_goes_on(make, made, state, steps, objective):
    opened = make(asha={"grace": 10, "reduction": 2}, **objective)
    run, spec, study = opened
    trial = study.ask()
    for one in made:
        store_report(study, trial._trial_id, one)
    before = [reports(stored) for stored in study.get_trials()]
    stored = storage.reopen(run, spec).study.get_trials()
    assert [trial.state for trial in stored] == [state]
    assert [reports(trial) for trial in stored] == before
    assert max(before[0], default=0) == steps
    assert owed(storage.open_run(run, spec)) == (2 if state == TrialState.RUNNING else 1)
    if state == TrialState.COMPLETE:
        assert stored[0].values == [ENDED[metric] for metric in spec.objectives]
    if state == TrialState.PRUNED:
        assert stored[0].values == ([-7.0] if objective is ONE else None)
    again = storage.reopen(run, spec).study.get_trials()
    assert [(t.state, t.datetime_complete) for t in again] == [(t.state, t.datetime_complete) for t in stored]


def test_one_whose_last_objective_was_no_number_failed(make):
    run, spec, study = make(objective="hoyer")
    store_report(study, study.ask()._trial_id, {**report(60, hoyer=math.nan), "done": True})
    (stored,) = storage.reopen(run, spec).study.get_trials()
    assert stored.state == TrialState.FAIL
    assert stored.user_attrs["cause"] == "nan: ['hoyer'] were [nan] at step 60"


def test_a_death_between_a_report_and_its_value_loses_neither(make, monkeypatch):
    run, spec, study = make(asha={"grace": 10, "reduction": 2})

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(study._storage, "set_trial_intermediate_value", killed)
        with pytest.raises(KeyboardInterrupt):
            store_report(study, study.ask()._trial_id, {**report(20, elbo=-7.0), "done": True})
    (stored,) = storage.reopen(run, spec).study.get_trials()
    assert (stored.state, stored.value, stored.intermediate_values) == (TrialState.PRUNED, -7.0, {20: -7.0})


def test_a_reader_ends_nothing(make):
    """Only who holds the run does: a live driver may be about to."""
    run, spec, study = make()
    store_report(study, study.ask()._trial_id, {**report(60), "done": True})
    assert [trial.state for trial in open_run(run, spec).study.get_trials()] == [TrialState.RUNNING]


def test_the_front_of_several_objectives_has_complete_trials_only(make):
    opened = make(trials=5, asha={"grace": 10, "reduction": 2}, **SEVERAL)
    run, spec, study = opened
    for steps, elbo, hoyer in ((60, -5.0, 0.1), (20, -1.0, 0.9), (60, -9.0, 0.5), (60, -9.0, 0.2)):
        made = {**report(steps, elbo=elbo, hoyer=hoyer), "done": True}
        number = study.ask().number
        store_report(study, study.get_trials()[number]._trial_id, made)
        if number != 3:  # its driver died
            finish(opened, number, made)
    fail(opened, study.ask().number, "nan: ...")
    assert {trial.number for trial in study.best_trials} == {0, 2}
    reopened = storage.reopen(run, spec).study
    assert [trial.state.name for trial in reopened.get_trials()] == ["COMPLETE", "PRUNED", *["COMPLETE"] * 2, "FAIL"]
    assert {trial.number for trial in reopened.best_trials} == {0, 2}


# A storage that the specification names.


def test_a_storage_that_cannot_be_opened_is_refused(raw):
    with pytest.raises(SpecError, match=r"storage: cannot be opened .*sqlite:///studies\.db"):
        storage.check_storage_is_new(StudySpec(**raw(storage="oracle://host/studies")))


def test_a_study_of_the_same_name_in_a_shared_storage_is_not_joined(raw, tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    storage.check_storage_is_new(StudySpec(**raw(storage=url)))
    optuna.create_study(storage=url, study_name="tiny")
    with pytest.raises(SpecError, match="holds a study of this name already"):
        storage.check_storage_is_new(StudySpec(**raw(storage=url)))
    storage.check_storage_is_new(StudySpec(**raw(storage=url, name="another")))
