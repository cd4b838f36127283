"""The first trial of a search: the model's defaults, given once whatever kills the driver, and told from drawn ones."""

import pytest
from ended import Given, searched
from optuna.trial import TrialState

import searchspaces
from study.confirm import candidates
from study.record import first, tables
from study.record.folder import OpenRun, Run
from study.record.storage import open_run, reopen
from study.record.words import plan
from study.spec import StudySpec
from study.tune.searcher import HandOut

ASKING = ["tpe", "gp", "cmaes"]


@pytest.fixture
def begun(raw, tmp_path):
    """Opens a run, as each process that searches does before it hands out trials."""

    def make(**changes) -> OpenRun:
        spec, run = StudySpec(**raw(**{"sampler": "tpe", "trials": 8, **changes})), Run(tmp_path / "tiny")
        if not run.path.exists():
            run.create(spec)
            open_run(run, spec, create=True)
        opened = reopen(run)
        first.enqueue(opened)
        return opened

    return make


def hand_out(opened: OpenRun) -> dict:
    unfinished = opened.study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    return HandOut(opened, None, unfinished).suggest("")


@pytest.mark.parametrize("sampler", ASKING)
@pytest.mark.parametrize("storage", [None, "journal"])
def test_the_defaults_come_first_and_are_told_from_what_is_drawn(begun, storage, sampler):
    opened = begun(sampler=sampler, storage=storage)
    given = [hand_out(opened), HandOut(opened, None, []).suggest("")]
    assert given[0]["settings"] == opened.spec.defaults() != given[1]["settings"]
    assert [one["number"] for one in given] == [0, 1]
    assert tables.results(opened)["origin"].to_list() == ["defaults", ""]
    assert "  begins with the defaults\n" in plan(opened.spec, opened.run)


@pytest.mark.parametrize("storage", [None, "journal"])
def test_a_death_at_any_moment_leaves_them_first_and_once(begun, storage):
    waiting = begun(storage=storage)  # which died before it handed it out
    assert [trial.state.name for trial in waiting.study.get_trials()] == ["WAITING"]
    asked = begun(storage=storage)  # and which died before it had drawn anything
    asked.study.ask()
    for _ in range(2):  # and which died at work
        opened = begun(storage=storage)
        given = hand_out(opened)
        assert (given["number"], given["settings"]) == (0, opened.spec.defaults())
        (trial,) = opened.study.get_trials()
        assert trial.user_attrs[first.ORIGIN] == first.DEFAULTS


@pytest.mark.parametrize("changes", [{"sampler": "random"}, {"sampler": "grid"}, {"first": "drawn"}], ids=str)
def test_random_points_and_grids_stay_what_they_are(begun, changes):
    opened = begun(**changes)
    assert opened.spec.first == "drawn"
    assert opened.study.get_trials() == []
    assert "begins" not in plan(opened.spec, opened.run)
    hand_out(opened)
    assert tables.results(opened)["origin"].to_list() == [""]


def test_a_study_that_began_with_drawn_points_goes_on_so(begun):
    opened = begun(first="drawn")
    hand_out(opened)
    opened = opened._replace(spec=opened.spec.model_copy(update={"first": "defaults"}))
    first.enqueue(opened)
    assert len(opened.study.get_trials()) == 1


def test_a_default_outside_a_range_is_given_as_its_nearest_value_and_named(begun):
    space = {
        "lr": {"low": 2e-3, "high": 1e-2},
        "weight_decay": {"low": 0.1, "high": 0.5, "step": 0.2},
        "grad_clip": {"choices": [1.0, 2.0]},  # of which none is the default
    }
    opened = begun(space=space)
    settings = hand_out(opened)["settings"]
    assert {name: settings[name] for name in space} == {"lr": 2e-3, "weight_decay": 0.1, "grad_clip": 1.0}
    assert tables.results(opened)["origin"].to_list() == ["nearest"]
    nearest = "lr=0.002 for 0.001, weight_decay=0.1 for 0.0"
    assert f"begins with the defaults, as near as its ranges allow: {nearest}\n" in plan(opened.spec, opened.run)
    (trial,) = opened.study.get_trials()
    assert all(trial.distributions[name]._contains(drawn) for name, drawn in (("lr", 2e-3), ("weight_decay", 0.1)))


@pytest.mark.parametrize(
    ("name", "high", "step", "nearest"), [("a", 10, None, 10), ("a", 18, 4, 18), ("a", 100, 6, 20), ("b", 10, None, 3)]
)
def test_the_nearest_value_lies_on_the_steps_of_a_range(name, high, step, nearest):
    trial = searchspaces.Within({"a": 21, "b": 3})
    assert trial.suggest_int(name, 2, high, step=step or 1) == nearest == trial.suggest_int(name, 2, high, step=step)
    other = searchspaces.Within({"a": 21, "b": 3})
    assert other.suggest_float(name, 2.0, float(high), step=step) == nearest


def test_the_defaults_are_confirmed_once_however_good_they_were(make, tmp_path):
    """Their trial is the best one here; in its place comes the next."""
    reached = {searchspaces.defaults("vae")["lr"]: -100.0, 4e-3: -190.0, 2e-3: -180.0}
    given = tuple(Given(lr, TrialState.COMPLETE, elbo) for lr, elbo in reached.items())
    opened = searched(make(trials=3), Run(tmp_path / "tiny"), given)
    assert [candidate.name for candidate in candidates(opened)] == ["defaults", "trial-2", "trial-1"]
