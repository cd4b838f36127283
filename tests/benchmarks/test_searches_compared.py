"""Searches are compared by what they found and when; those of a study's curves are made of the real parts."""

import math

import optuna
import pytest
from optuna.trial import TrialState

import study
from benchmarks import search
from benchmarks.search import RANDOM, Curves, Found, alone, found, of_study, row
from study.record.folder import Run
from study.record.storage import create, open_run
from study.record.trials import finish, store_report
from study.spec.measures import METRICS

PROMOTE = "asha={grace: 200, reduction: 2, mode: promote}"


@pytest.fixture(scope="module")
def at_random(tmp_path_factory) -> Run:
    """A study of full trials that are the better, the nearer their rate is to 3e-3, and get better with each report."""
    run = Run(tmp_path_factory.mktemp("runs") / "full")
    spec = study.load("quickstart", ["trials=40", *RANDOM])
    create(run, spec)
    opened = open_run(run, spec, create=True)
    for number in range(spec.trials):
        trial = opened.study.ask()
        level = -1000 * abs(spec.draw(trial)["lr"] - 3e-3)
        for steps in range(spec.report_every, spec.steps + 1, spec.report_every):
            report = {**dict.fromkeys(METRICS, 0.5), "measures": [*METRICS], "elbo": level - 1000 / steps}
            report |= {"steps": steps, "seconds": steps / 100, "train": []}
            store_report(opened.study, trial._trial_id, report)
        finish(opened, number, {**report, "cause": ""})
    return run


def test_a_search_is_summed_up_by_what_was_better_than_all_before():
    one = found([(30.0, -3.0), (10.0, -5.0), (20.0, -7.0)], steps=900, seconds=40.0)
    assert one == Found(900, 40.0, [(10.0, -5.0), (30.0, -3.0)])
    assert one.as_good(-5.0) == 10.0
    assert one.as_good(-4.0) == 30.0
    assert one.as_good(-2.0) == math.inf


def test_a_row_compares_each_search_with_the_random_one_of_its_seed():
    at_random = [Found(1000, 100.0, [(50.0, -4.0)]), Found(1000, 200.0, [(150.0, -6.0)]), Found(10, 1.0, [(1.0, 0.0)])]
    ours = [Found(500, 40.0, [(20.0, -4.0)]), Found(400, 100.0, [(80.0, -3.0)]), Found(4, 0.9, [(0.5, -1.0)])]
    assert row("ours", ours, at_random) == [
        "ours",
        "-3.00 [-4.00, -1.00]",
        "+0.00 [-1.00, +3.00]",
        "40% [40%, 50%]",
        "50% [40%, 90%]",
        "40% [20%, never], 2 of 3",
    ]


def test_a_curve_is_that_of_trials_that_are_like_it(at_random):
    curves = Curves(at_random)
    usual = open_run(at_random).spec.default_draws()
    good, bad = (curves.curve({**usual, "lr": lr}) for lr in (3e-3, 9e-3))
    assert [one.report["steps"] for one in good] == [200, 400, 600, 800, 1000, 1200]
    assert [one.seconds for one in good] == pytest.approx([2.0] * 6)
    gained = good[-1].report["elbo"] - good[0].report["elbo"]
    assert gained == pytest.approx(1000 / 200 - 1000 / 1200, abs=0.2)
    assert good[-1].report["elbo"] > bad[-1].report["elbo"] + 2


def test_the_trials_of_several_runs_are_one_study(at_random, tmp_path):
    assert Curves(at_random, at_random).forest.estimators_[0].tree_.weighted_n_node_samples[0] == 80
    spec, other = study.load("quickstart", [*RANDOM, "budget.steps=800"]), Run(tmp_path / "other")
    create(other, spec)
    open_run(other, spec, create=True)
    with pytest.raises(search.RunError, match="needs the model, space and budget of"):
        Curves(at_random, other)


@pytest.mark.parametrize("sets", [RANDOM, ["asha={grace: 200}"], [PROMOTE]], ids=["random", "stop", "promote"])
def test_a_search_of_the_curves_makes_every_trial_and_counts_each_step_once(at_random, monkeypatch, sets):
    kept = []
    monkeypatch.setattr(search, "open_run", lambda *given, **named: kept.append(open_run(*given, **named)) or kept[-1])
    one = Curves(at_random).ours(study.load("quickstart", ["trials=12", "sampler=random", *sets]))
    trials = kept[-1].study.get_trials()
    assert len(trials) == 12
    assert one.steps == sum(max(trial.intermediate_values) for trial in trials)
    complete = [trial.values[0] for trial in trials if trial.state == TrialState.COMPLETE]
    assert (len(complete) == 12) == (sets == RANDOM)
    assert one.best[-1][1] == max(complete)
    if sets == RANDOM:
        assert one.seconds == pytest.approx(12 * 12 / search.WORKERS)
    else:
        assert one.seconds < 12 * 12 / search.WORKERS


def test_optuna_alone_searches_the_curves_with_its_own_pruner(at_random, monkeypatch):
    kept = []
    create_study = optuna.create_study
    monkeypatch.setattr(optuna, "create_study", lambda **given: kept.append(create_study(**given)) or kept[-1])
    one = Curves(at_random).optuna(study.load("quickstart", ["trials=20", *RANDOM]))
    trials = kept[-1].trials
    assert isinstance(kept[-1].pruner, optuna.pruners.MedianPruner)
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert len(trials) == 20
    assert one.steps == sum(max(trial.intermediate_values) for trial in trials)
    assert one.best[-1][1] == kept[-1].best_value


@pytest.mark.long
def test_optuna_alone_trains_in_processes_of_its_own(tmp_path):
    sets = ["trials=3", "budget.steps=4", "budget.report_every=2", "validation.images=50", *RANDOM]
    spec = study.load("quickstart", sets)
    searched = alone(spec, tmp_path / "alone", data=None)
    assert len(searched.trials) == 3
    assert all(trial.state.is_finished() for trial in searched.trials)
    assert {tuple(trial.intermediate_values) for trial in searched.trials} <= {(2,), (2, 4)}
    made = of_study(searched)
    assert made.best[-1][1] == searched.best_value
    assert 0 < made.best[-1][0] <= made.seconds
    assert len(alone(spec, tmp_path / "alone", data=None).trials) == 3  # what is there is not done again


def test_what_is_trained_can_be(tmp_path):
    for on in search.PRESETS:
        ours, at_random = (search.specification(on, way, seed=2) for way in ("ours", "random"))
        assert (ours.asha is None, at_random.asha) == (False, None)
        assert at_random.sampler == "random"
        assert ours.steps == at_random.steps
        assert ours.trials == at_random.trials
        assert (ours.seed, ours.name) == (2, f"{on}-ours-2")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["replay", "nowhere", "--asha", "{grace: 200}"], "nowhere"),
        (["replay", "RUN", "--asha", "{grace: 30}"], "asha.grace"),
        (["replay", "RUN", "--asha", "nonsense"], "asha"),
        (["replay", "RUN", "--asha", "{grace: 200}", "--seeds", "0"], "--seeds"),
        (["replay", "ASHA", "--asha", "{grace: 200}"], "needs 8 complete trials at least"),
        (["train", "--seeds", "-1"], "--seeds"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_a_mistake_is_a_line_and_exit_code_2(at_random, tmp_path, monkeypatch, capsys, arguments, says):
    if "ASHA" in arguments:
        spec, run = study.load("quickstart"), Run(tmp_path / "asha")
        create(run, spec)
        open_run(run, spec, create=True)
    places = {"RUN": str(at_random.path), "ASHA": str(tmp_path / "asha")}
    monkeypatch.setattr("sys.argv", ["search", *(places.get(argument, argument) for argument in arguments)])
    with pytest.raises(SystemExit) as ended:
        search.main()
    assert ended.value.code == 2
    assert says in capsys.readouterr().err.splitlines()[-1]
