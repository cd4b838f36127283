"""Processes that start beside trials that are shorter than a start."""

from types import SimpleNamespace

import pytest
from ray.tune.execution.tune_controller import TuneController

from study.tune import actors


@pytest.mark.parametrize(
    ("started", "resetting", "asked"), [(True, False, False), (True, True, False), (False, False, True)]
)
def test_a_free_process_is_for_trials_whose_own_has_not_begun_to_start(monkeypatch, started, resetting, asked):
    calls = []
    monkeypatch.setattr(actors, "_reuse", lambda controller, trial: calls.append(trial) or True)
    controller = SimpleNamespace(
        _trial_to_actor={"trial": "own"},
        _resetting_trials={"trial"} if resetting else set(),
        _actor_manager=SimpleNamespace(is_actor_started=lambda actor: started),
    )
    assert actors._reuse_unless_starting(controller, "trial") == (asked or resetting)
    assert calls == (["trial"] if asked else [])
    assert actors._reuse_unless_starting(controller, "another")
    assert calls[-1] == "another"


def test_ray_has_the_method_that_is_replaced(monkeypatch):
    monkeypatch.setattr(TuneController, actors.METHOD, actors._reuse)
    actors.leave_those_that_start()
    assert TuneController._maybe_reuse_cached_actor is actors._reuse_unless_starting
    assert actors._reuse is not actors._reuse_unless_starting
