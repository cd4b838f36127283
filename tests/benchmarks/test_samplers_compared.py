"""A stand-in of a study says what its trials reached, and searches of it get better with every trial."""

import optuna
import pytest

import study
from benchmarks import samplers
from benchmarks.samplers import AFTER, StandIn, point


@pytest.fixture(scope="module", params=["forest", "gp"])
def stand_in(request) -> StandIn:
    """Of trials that are the better, the nearer their rate is to 3e-3."""
    spec = study.load("quickstart", ["trials=16"])
    searched = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0))
    for _ in range(40):
        trial = searched.ask()
        searched.tell(trial, -1000 * abs(spec.draw(trial)["lr"] - 3e-3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samplers, "AT_RANDOM", 500)
        return StandIn(spec, searched.trials, request.param)


def test_it_has_learned_what_matters(stand_in):
    good, bad = ({**stand_in.spec.default_draws(), "lr": lr} for lr in (3e-3, 9e-3))
    assert stand_in.value(bad) + 2 < stand_in.value(good) <= stand_in.best + 1
    assert all(0 <= number <= 1 for number in point(good, stand_in.drawn))
    (one,) = stand_in.model.predict(point(good, stand_in.drawn)[None])
    assert stand_in.value(good) == pytest.approx(one, rel=1e-6)


@pytest.mark.parametrize("first", ["defaults", "drawn"])
def test_a_search_of_it_begins_with_the_defaults_where_that_is_asked_for(stand_in, monkeypatch, first):
    seen = []
    monkeypatch.setattr(stand_in, "value", lambda params: seen.append(params) or float(len(seen)))
    spec = stand_in.spec.model_copy(update={"sampler": "random", "first": first})
    assert stand_in.regrets(spec, AFTER[0] + 1) == [stand_in.best - AFTER[0]]
    assert (seen[0] == spec.default_draws()) == (first == "defaults")
