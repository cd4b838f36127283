"""Ray Tune's processes for trials: one that is starting is left to start.

Ray gives a process that has become free to the trial whose own is still starting, and ends that one. Where a trial
takes less time than a start, which is seconds of imports, the other CPUs then never get a process that works: each is
ended as soon as the one at work is free again, and the next begins to start. Here the free one waits its turn.
"""

from __future__ import annotations

from typing import Any

from ray.tune.execution.tune_controller import TuneController

METHOD = "_maybe_reuse_cached_actor"
_reuse = getattr(TuneController, METHOD)


def leave_those_that_start() -> None:
    """Has Ray Tune do so in this process."""
    setattr(TuneController, METHOD, _reuse_unless_starting)


def _reuse_unless_starting(controller: TuneController, trial: Any) -> bool:
    """As Ray's own: gives a trial a process that is free, and says whether there was one."""
    own = controller._trial_to_actor.get(trial)
    if own is not None and controller._actor_manager.is_actor_started(own):  # it has CPUs of its own, and will be there
        return trial in controller._resetting_trials
    reused: bool = _reuse(controller, trial)
    return reused
