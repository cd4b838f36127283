"""Samplers follow from the specification and from how many trials are stored; grids fit the trials."""

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from shapes import every_preset

from study.record import sampling
from study.record.folder import Run
from study.record.words import plan
from study.spec import StudySpec, load

some_presets = every_preset("name")


def points(found: StudySpec, stored: int, n: int = 3) -> list[dict]:
    optuna_study = optuna.create_study(
        directions=["maximize"] * len(found.objectives), sampler=sampling.sampler(found, stored)
    )
    return [found.draw(optuna_study.ask()) for _ in range(n)]


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2"])
def test_a_sampler_follows_from_the_seed_and_the_number_of_stored_trials(raw, sampler):
    def draw(seed: int, stored: int) -> list[dict]:
        return points(StudySpec(**raw(sampler=sampler, seed=seed, objective=["elbo", "hoyer"])), stored)

    first = draw(0, 0)
    assert draw(0, 0) == first
    others = [point["lr"] for seed, stored in [(0, 3), (0, 4), (1, 0), (3, 0)] for point in draw(seed, stored)]
    lrs = [point["lr"] for point in first] + others
    assert len(set(lrs)) == len(lrs)


def test_each_sampler_is_optunas(raw):
    kinds = {"tpe": "Tpe", "random": "RandomSampler", "nsga2": "NSGAIISampler", "grid": "Grid"}
    for sampler, kind in kinds.items():
        found = sampling.sampler(StudySpec(**raw(sampler=sampler, objective=["elbo", "hoyer"])), 0)
        assert type(found).__name__ == kind


@some_presets
@pytest.mark.parametrize("trials", [1, 7, 300])
def test_grid_points_lie_in_their_ranges(name, trials):
    distributions = load(name).distributions()
    grid = sampling.grid(distributions, trials)
    assert set(grid) == set(distributions)
    for key, values in grid.items():
        distribution = distributions[key]
        assert all(distribution._contains(distribution.to_internal_repr(value)) for value in values)
        if not isinstance(distribution, CategoricalDistribution):
            assert (values[0], values[-1]) == (distribution.low, distribution.high)
            whole = isinstance(distribution, IntDistribution)
            assert all(isinstance(value, int if whole else float) for value in values)


def test_a_grid_has_as_many_points_as_the_trials_allow():
    distributions = {
        "a": FloatDistribution(1e-4, 1.0, log=True),
        "b": FloatDistribution(0.0, 1.0),
        "c": CategoricalDistribution(["x", "y"]),
    }
    grid = sampling.grid(distributions, 18)
    assert grid == {"a": pytest.approx([1e-4, 1e-2, 1.0]), "b": [0, 0.5, 1], "c": ["x", "y"]}
    assert len(sampling.grid(distributions, 17)["a"]) == 2
    assert len(sampling.grid(distributions, 1)["a"]) == 2
    assert sampling.grid({"c": CategoricalDistribution(["x", "y"])}, 50) == {"c": ["x", "y"]}
    assert sampling.grid({"n": IntDistribution(1, 3)}, 10) == {"n": [1, 2, 3]}
    assert sampling.grid({"n": IntDistribution(0, 9, step=3)}, 3) == {"n": [0, 6, 9]}


def test_a_grid_search_visits_every_point_and_ends_without_complaint(raw, recwarn):
    """Optuna's own grid sampler raises when its last point is told: it means to stop a loop that is not there."""
    fixed = {"latent": 4, "hidden": 16, "beta": 1.0, "posterior": "gaussian", "prior": "standard"}
    found = StudySpec(**{**raw(sampler="grid", trials=4), "fixed": fixed})
    assert set(found.distributions()) == {"kl_warmup", "lr"}
    optuna_study = optuna.create_study(sampler=sampling.sampler(found, 0))
    seen = []
    for _ in range(2):
        seen.append(found.draw(trial := optuna_study.ask()))
        optuna_study.tell(trial, state=TrialState.PRUNED)
    optuna_study.sampler = sampling.sampler(found, 2)  # as a process that goes on
    for _ in range(2):
        seen.append(found.draw(trial := optuna_study.ask()))
        optuna_study.tell(trial, 1.0)
    corners = {(warmup, lr) for warmup in (0.0, 0.3) for lr in (1e-4, 1e-2)}
    assert {(s["kl_warmup"], s["lr"]) for s in seen} == corners
    assert [trial.state.name for trial in optuna_study.trials] == ["PRUNED", "PRUNED", "COMPLETE", "COMPLETE"]
    assert not recwarn


def test_a_grid_takes_any_seed(raw):
    spec = StudySpec(**raw(sampler="grid", seed=2**40 + 3))
    study = optuna.create_study(sampler=sampling.sampler(spec, stored=0))
    assert spec.draw(study.ask())["lr"] > 0


def test_a_grid_that_has_fewer_points_than_there_are_trials_says_so(raw):
    given = {"choices": [16, 32, 64]}
    for trials, line in ((3, ""), (5, "its grid has 3 points; 2 trials repeat some over other seeds")):
        pins = {"lr": 1e-3, "latent": 4, "beta": 1.0, "kl_warmup": 0.0, "posterior": "gaussian", "prior": "standard"}
        found = StudySpec(**{**raw(sampler="grid", trials=trials), "fixed": pins, "space": {"hidden": given}})
        said = plan(found, Run("runs/tiny"))
        assert (line in said) if line else ("its grid" not in said)


@pytest.mark.parametrize("name", ["vsc-mnist-latents", "vae-mnist-latents"])
def test_the_grid_of_the_replications_latent_sizes_has_each_once_and_nothing_else_varies(name):
    found = load(name)
    drawn = points(found, 0, found.trials)
    assert sorted(point.pop("latent") for point in drawn) == list(range(8, 201, 8))
    assert all(point == drawn[0] for point in drawn)
    assert found.confirm.top == found.trials == 25


SPACE = {"x": FloatDistribution(-1.0, 1.0), "n": IntDistribution(1, 64)}


def add(study, random, trials):
    """Ended trials, best where x is 0.5; a third of them pruned."""
    for i in range(trials):
        point = {"x": float(random.uniform(-1, 1)), "n": int(random.integers(1, 65))}
        value = -abs(point["x"] - 0.5)
        pruned = i % 3 == 0
        study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
                value=None if pruned else value,
                params=point,
                distributions=SPACE,
                intermediate_values={1: value},
            )
        )


def drawn(sampler, history, running=3, trials=5):
    study = optuna.create_study(direction="maximize", sampler=sampler)
    add(study, np.random.default_rng(0), history)
    return [study.ask(SPACE).params for _ in range(running + trials)][running:]


def test_of_a_short_history_tpe_sees_all_and_draws_what_optunas_does():
    assert drawn(sampling.Tpe(seed=1), 60) == drawn(optuna.samplers.TPESampler(seed=1), 60)


def test_of_a_long_history_tpe_sees_the_best_and_some_of_the_others(monkeypatch):
    monkeypatch.setattr(sampling.Tpe, "HISTORY", 50)
    monkeypatch.setattr(sampling.Tpe, "RUNNING", 2)
    seen = []
    sample = optuna.samplers.TPESampler.sample_relative

    def noted(self, study, trial, space):
        seen.append(study.get_trials(deepcopy=False))
        return sample(self, study, trial, space)

    monkeypatch.setattr(optuna.samplers.TPESampler, "sample_relative", noted)
    study = optuna.create_study(direction="maximize", sampler=sampling.Tpe(seed=0))
    add(study, np.random.default_rng(0), 300)
    points = [study.ask(SPACE).params for _ in range(10)]
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    best = sorted(complete, key=lambda trial: -trial.value)[:5]
    for trials in seen:
        ended = [trial for trial in trials if trial.state.is_finished()]
        assert len(ended) == 50
        assert len(trials) - len(ended) <= 2
        assert {trial.number for trial in best} <= {trial.number for trial in trials}
        assert [trial.number for trial in trials] == sorted({trial.number for trial in trials})
        assert max(np.diff([trial.number for trial in ended])) < 20  # from the whole study
    assert np.mean([abs(point["x"] - 0.5) for point in points]) < 0.25
    add(study, np.random.default_rng(1), 4)
    study.ask(SPACE)
    assert [t.number for t in seen[-1] if t.state.is_finished()] == [
        t.number for t in seen[-2] if t.state.is_finished()
    ]
    add(study, np.random.default_rng(1), 4)
    study.ask(SPACE)
    assert [t.number for t in seen[-1] if t.state.is_finished()] != [
        t.number for t in seen[-2] if t.state.is_finished()
    ]
