"""What the study is told of pathologies: a constraint of each trial and names, which samplers and bests go by."""

import warnings

import optuna
import pytest
from optuna.trial import TrialState

from study import solo
from study.confirm import candidates
from study.record.folder import OpenRun, Run
from study.record.pathologies import CONSTRAINT, counts
from study.record.storage import open_run, reopen
from study.record.tables import results
from study.record.trials import best_trial, fail, finish, reports, store_report
from study.record.words import describe, summary
from study.spec import StudySpec
from study.spec.measures import METRICS, PATHOLOGIES


@pytest.fixture
def make(raw, tmp_path):
    """Makes a run with a study, open; in a journal, which is the fastest."""

    def new(**changes) -> OpenRun:
        spec = StudySpec(**raw(**{"storage": "journal", **changes}))
        run = Run(tmp_path / "tiny")
        run.create(spec)
        return open_run(run, spec, create=True)

    return new


def begin(opened: OpenRun, *excess: float | None, steps: int = 60, elbo: float = -100.0, done: bool = False) -> int:
    """Draws a trial that makes reports up to a step, judged so of `collapsed`; returns its number."""
    trial = opened.study.ask()
    opened.spec.draw(trial)
    for i, value in enumerate(excess):
        evidence = "kl 0.1 below 0.6931" if value is not None and value > 0 else ""
        kept = {"collapsed": None if value is None else {"excess": value, "evidence": evidence}}
        made = {**dict.fromkeys(METRICS, 0.5), "measures": list(METRICS), "elbo": elbo, "seconds": 1.0, "train": []}
        at = steps - 10 * (len(excess) - 1 - i)
        store_report(opened.study, trial._trial_id, {**made, "steps": at, PATHOLOGIES: kept, "done": done})
    return trial.number


def told(opened: OpenRun, *excess: float | None, steps: int = 60, elbo: float = -100.0) -> optuna.trial.FrozenTrial:
    """The same, ended, at full budget as COMPLETE and below as PRUNED."""
    number = begin(opened, *excess, steps=steps, elbo=elbo)
    last = reports(opened.study.trials[number])[steps]
    finish(opened, number, {**last, "steps": steps, "cause": ""})
    return opened.study.trials[number]


@pytest.mark.parametrize("storage", [None, "journal"])
def test_a_trial_keeps_its_state_and_value_beside_constraint_and_name(make, storage):
    opened = make(storage=storage)
    ill, pruned, well, once = (
        told(opened, -1.0, 0.5, 0.75, elbo=-7.0),
        told(opened, 1.0, 1.0, steps=30),
        told(opened, 0.5, -0.25),
        told(opened, 1.0),
    )
    assert [trial.state for trial in (ill, pruned)] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert ill.value == -7.0
    assert [trial.constraints for trial in (ill, pruned)] == [{"pathology": 0.5}, {"pathology": 1.0}]
    assert [trial.constraints for trial in (well, once)] == [{"pathology": -0.25}, {"pathology": 0.0}]
    said = "collapsed: at step 50 kl 0.1 below 0.6931, at step 60 kl 0.1 below 0.6931"
    assert (ill.user_attrs["pathology"], ill.user_attrs["evidence"]) == ("collapsed", said)
    assert not {"pathology", "evidence"} & {*well.user_attrs, *once.user_attrs}
    assert describe(ill, opened.spec).endswith("elbo -7.00   collapsed")
    assert "\npathologies: 2 collapsed\n" in summary(opened)
    rows = results(opened)
    assert rows["pathology"].tolist() == ["collapsed", "collapsed", "", ""]
    assert rows["evidence"][0] == said


def test_what_failed_or_was_not_watched_has_no_constraint(make):
    opened = make()
    number = begin(opened, 1.0, 1.0)
    fail(opened, number, "lost: the worker's process ended")
    trial = opened.study.ask()
    opened.spec.draw(trial)
    made = {**dict.fromkeys(METRICS, 0.5), "measures": list(METRICS), "steps": 60, "seconds": 1.0, "train": []}
    store_report(opened.study, trial._trial_id, {**made, PATHOLOGIES: {}})
    finish(opened, trial.number, {**made, "cause": ""})
    assert [trial.constraints for trial in opened.study.trials] == [{}, {}]
    assert not any("pathology" in trial.user_attrs for trial in opened.study.trials)


def test_a_run_that_goes_on_finds_what_a_dead_driver_would_have_told(make):
    opened = make()
    number = begin(opened, 0.5, 0.25, steps=30, done=True)
    trial_id = opened.study.trials[number]._trial_id
    opened.study._storage.set_trial_system_attr(trial_id, CONSTRAINT, -1.0)  # the death came on the way
    [trial] = reopen(opened.run).study.trials
    assert (trial.number, trial.state, trial.constraints) == (number, TrialState.PRUNED, {"pathology": 0.25})
    assert trial.user_attrs["pathology"] == "collapsed"


def test_a_training_that_collapses_is_told_and_ended_where_the_preset_says_so(raw, tmp_path, data):
    spec = StudySpec(
        **raw(
            fixed={"beta": 1000.0, "lr": 1e-2},
            budget={"report_every": 20},
            validation={"images": 40},
            stop_on=["collapsed"],
        )
    )
    outcome = solo.train(spec, Run(tmp_path / "run"))
    [trial] = open_run(Run(tmp_path / "run")).study.trials
    assert (outcome.pruned, outcome.failed, max(reports(trial))) == (1, 0, 40)
    assert (trial.user_attrs["pathology"], trial.constraints) == ("collapsed", {"pathology": 1.0})


# Bests.


def test_the_best_is_the_best_without_a_pathology_and_any_where_all_have_one(make):
    opened = make(confirm={"top": 3, "seeds": 1})
    told(opened, 1.0, 1.0, elbo=-5.0)
    assert best_trial(opened.study).number == 0
    assert [found.name for found in candidates(opened)] == ["defaults", "trial-0"]
    told(opened, -1.0, -1.0, elbo=-9.0)
    told(opened, -1.0, -1.0, elbo=-8.0)
    assert best_trial(opened.study).number == opened.study.best_trial.number == 2  # as Optuna has it
    assert [found.name for found in candidates(opened)] == ["defaults", "trial-2", "trial-1"]


def test_a_pareto_front_is_of_those_without_a_pathology_and_of_all_where_all_have_one(make):
    opened = make(objective=["elbo", "zero_fraction"], confirm={"top": 3, "seeds": 1})
    told(opened, 1.0, 1.0, elbo=-5.0)
    assert [found.name for found in candidates(opened)] == ["defaults", "trial-0"]
    told(opened, -1.0, -1.0, elbo=-9.0)
    assert [found.name for found in candidates(opened)] == ["defaults", "trial-1"]
    assert [trial.number for trial in opened.study.best_trials] == [1]


# Samplers.


def test_tpe_keeps_away_from_what_is_told_as_a_pathology_though_its_values_are_the_best(make):
    opened = make(seed=3, sampler="tpe", trials=60)

    def search(ill) -> list[float]:
        for _ in range(40):
            number = begin(opened, steps=60)
            trial = opened.study.trials[number]
            high = trial.params["lr"] > 1e-3  # half of the space
            excess = (0.5, 0.5) if ill(high) else (-1.0, -1.0)
            kept = {"collapsed": {"excess": excess[0], "evidence": "x" if excess[0] > 0 else ""}}
            elbo = -1.0 if high else -10.0 - abs(trial.params["lr"] - 5e-4)
            made = {**dict.fromkeys(METRICS, 0.5), "measures": list(METRICS), "elbo": elbo, PATHOLOGIES: kept}
            for steps in (50, 60):
                store_report(opened.study, trial._trial_id, {**made, "steps": steps, "seconds": 1.0, "train": []})
            finish(opened, number, {**made, "steps": 60, "cause": ""})
        return [trial.params["lr"] for trial in opened.study.trials[-20:]]

    drawn = search(lambda high: high)
    assert sum(lr > 1e-3 for lr in drawn) <= 7
    opened = make_again(opened)
    assert sum(lr > 1e-3 for lr in search(lambda high: False)) >= 14


def make_again(opened: OpenRun) -> OpenRun:
    """The same study from the beginning, under another name."""
    run = Run(opened.run.path.parent / "again")
    spec = opened.spec.model_copy(update={"name": "again"})
    run.create(spec)
    return open_run(run, spec, create=True)


@pytest.mark.parametrize("ill", ["all", "some"])
@pytest.mark.parametrize("sampler", ["tpe", "random", "grid", "nsga2", "gp"])
def test_every_sampler_draws_on(make, sampler, ill):
    two = sampler == "nsga2"
    opened = make(sampler="tpe" if sampler == "gp" else sampler, objective=["elbo", "hoyer"] if two else "elbo")
    if sampler == "gp":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            opened.study.sampler = optuna.samplers.GPSampler(seed=0, n_startup_trials=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for i in range(14):
            told(opened, *((1.0, 0.5) if ill == "all" or i % 2 else (-1.0, -1.0)), steps=60 if i % 3 else 30, elbo=-i)
    assert len(opened.study.trials) == 14


# In words.


def test_trials_are_counted_by_their_pathologies():
    assert counts(["", "dead", "collapsed, dead", ""]) == "2 dead, 1 collapsed"
    assert counts(["", ""]) == ""
