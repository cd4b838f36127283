"""Processes that start beside trials that are shorter than a start."""

import os
import time
from types import SimpleNamespace

import pytest
from ray import tune
from ray.tune.execution.tune_controller import TuneController

from study.tune import actors

STARTS = 3.0  # seconds, of the second process and all later ones


def slow() -> type[tune.Trainable]:
    """Trials of no time, in processes that start slowly unless it is the first; made here, so that Ray hands it on."""

    class Slow(tune.Trainable):
        def setup(self, config):
            with open(config["starts"], "a") as file:
                first = file.tell() == 0
                file.write(f"{os.getpid()}\n")
            if not first:
                time.sleep(STARTS)

        def reset_config(self, new_config):
            return True

        def step(self):
            time.sleep(0.1)
            return {"process": os.getpid(), "done": True}

    return Slow


@pytest.mark.long
def test_a_process_that_starts_is_not_ended_by_trials_that_are_shorter(ray_down, local_ray, tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "1")  # as where a searcher suggests
    monkeypatch.setattr(TuneController, actors.METHOD, actors._reuse)
    actors.leave_those_that_start()
    with local_ray():
        tuner = tune.Tuner(
            slow(),
            param_space={"starts": str(tmp_path / "starts")},
            tune_config=tune.TuneConfig(num_samples=60, reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=str(tmp_path), verbose=0, checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False)
            ),
        )
        made = [result.metrics["process"] for result in tuner.fit()]
    assert len((tmp_path / "starts").read_text().split()) == len(set(made)) == 2
    assert len(made) == 60


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
