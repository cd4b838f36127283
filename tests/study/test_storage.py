"""The storage: made whole, one truth, and what a report becomes in it."""

import math

import optuna
import pytest
from optuna.trial import TrialState

from study import storage
from study.evaluation import METRICS
from study.folder import Run, RunError
from study.spec import SpecError, StudySpec
from study.storage import best_trial, fail, finish, open_study, outcome, owed, reports, store_report


@pytest.fixture
def make(raw, tmp_path):
    """Makes a run with a study: (run, specification, study)."""

    def new(**changes):
        spec = StudySpec(**raw(**changes))
        run = Run(tmp_path / "runs" / "tiny")
        run.create(spec)
        return run, spec, open_study(run, spec, create=True)

    return new


def report(steps: int, **metrics) -> dict:
    train = [[0, {"model": 1.5}]]
    return {**dict.fromkeys(METRICS, 0.5), **metrics, "steps": steps, "seconds": 1.0, "train": train, "cause": ""}


# Making it.


def test_readers_see_no_database_or_a_whole_one(raw, tmp_path, monkeypatch):
    """Optuna makes its tables in several steps; a reader in between brings itself and the maker down."""
    spec, run, seen = StudySpec(**raw()), Run(tmp_path / "tiny"), []
    run.create(spec)
    create = optuna.create_study

    def watched(*arguments, **options):
        study = create(*arguments, **options)
        with pytest.raises(RunError, match="has no study yet"):
            open_study(run, spec)
        seen.append(study)
        return study

    monkeypatch.setattr(optuna, "create_study", watched)
    study = open_study(run, spec, create=True)
    assert len(seen) == 1
    assert study.study_name == "tiny"
    assert open_study(run, spec).metric_names == ["elbo"]
    names = {path.name for path in run.folder.iterdir()}
    assert names == {"study.yaml", "environment.json", "optuna.db"}


def test_it_is_made_once(make):
    run, spec, study = make()
    study.ask()
    assert len(open_study(run, spec, create=True).get_trials()) == 1


def test_it_may_lie_elsewhere(make, tmp_path):
    run, spec, study = make(storage=f"sqlite:///{tmp_path / 'elsewhere.db'}")
    study.ask()
    assert not run.database.exists()
    assert (tmp_path / "elsewhere.db").is_file()
    assert len(open_study(run, spec).get_trials()) == 1


# Reports.

OWN = ("steps", "cause")  # of a report, and not stored in it


def test_a_report_is_kept_whole_and_its_value_beside_it(make):
    run, spec, study = make()
    trial = study.ask()
    for steps in (20, 10, 100):
        store_report(study, trial._trial_id, report(steps, elbo=-float(steps)))
    (stored,) = open_study(run, spec).get_trials()
    assert list(reports(stored)) == [10, 20, 100]
    assert reports(stored)[20] == {key: value for key, value in report(20, elbo=-20.0).items() if key not in OWN}
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
    _, _, study = make()
    store_report(study, study.ask()._trial_id, report(steps, elbo=-7.0))
    finish(study, 0, report(steps, elbo=-7.0), full=60)
    (stored,) = study.get_trials()
    assert (stored.state, stored.value) == (state, -7.0)


def test_several_objectives_are_told_in_their_order(make):
    _, _, study = make(objective=["hoyer", "elbo"])
    study.ask()
    finish(study, 0, report(60, elbo=-7.0, hoyer=0.25), full=60)
    assert study.get_trials()[0].values == [0.25, -7.0]


def test_a_cause_is_a_failure_whatever_the_step(make):
    _, _, study = make()
    study.ask()
    finish(study, 0, {**report(60), "cause": "nan: the loss ..."}, full=60)
    (stored,) = study.get_trials()
    assert stored.state == TrialState.FAIL
    assert stored.user_attrs["cause"] == "nan: the loss ..."


def test_an_objective_that_is_not_a_number_at_the_end_is_a_failure(make):
    _, _, study = make(objective="hoyer")
    study.ask()
    finish(study, 0, report(60, hoyer=math.nan), full=60)
    (stored,) = study.get_trials()
    assert stored.state == TrialState.FAIL
    assert stored.user_attrs["cause"].startswith("nan: ")
    assert stored.user_attrs["cause"].endswith("at step 60")


def test_outcome_owed_and_best(make):
    _, spec, study = make(trials=5)
    assert owed(study, spec) == 5
    assert best_trial(study) is None
    for _ in range(4):
        study.ask()
    finish(study, 0, report(60, elbo=-9.0), 60)
    finish(study, 1, report(60, elbo=-8.0), 60)
    finish(study, 2, report(10, elbo=-1.0), 60)
    fail(study, 3, "lost: ...")
    study.ask()
    assert outcome(study) == (2, 1, 1, None)
    assert owed(study, spec) == 1  # the running one
    assert best_trial(study).number == 1


def test_the_kind_of_number_is_noted(make, splits):
    _, spec, study = make()
    storage.describe_data(study, spec, splits)
    assert study.user_attrs[storage.KIND] == "soft cross-entropy"


# A storage that the specification names.


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////no/such/folder/studies.db", "oracle://host/studies"])
def test_a_storage_that_cannot_be_opened_is_refused(raw, url):
    with pytest.raises(SpecError, match=r"storage: cannot be opened .*sqlite:///studies\.db"):
        storage.check_storage_is_new(StudySpec(**raw(storage=url)))


def test_a_study_of_the_same_name_in_a_shared_storage_is_not_joined(raw, tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    storage.check_storage_is_new(StudySpec(**raw(storage=url)))
    optuna.create_study(storage=url, study_name="tiny")
    with pytest.raises(SpecError, match="holds a study of this name already"):
        storage.check_storage_is_new(StudySpec(**raw(storage=url)))
    storage.check_storage_is_new(StudySpec(**raw(storage=url, name="another")))
