"""The command line with an observer: ASHA's rungs go to a file after each of its decisions, a line of JSON each.

    python -m benchmarks.watched FILE run PRESET ...

The file is what a driver knew when it was killed: rungs are in its memory only.
"""

from __future__ import annotations

import functools
import json
import sys
from typing import Any

from study import cli
from study.tune import runner
from study.tune.scheduler import Asha


def watch(path: str) -> None:
    """Has every ASHA of this process write its rungs, {steps: {trial: value}}, to that file."""
    numbers: dict[str, int] = {}

    def note(asha: Asha) -> None:
        table = {
            steps: {numbers.get(trial, trial): value for trial, value in rung.items()} for steps, rung in asha.rungs
        }
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(table) + "\n")

    def watched(name: str) -> None:
        method = getattr(Asha, name)

        @functools.wraps(method)
        def call(self: Asha, controller: Any, trial: Any, result: dict) -> Any:
            numbers[trial.trial_id] = trial.config["number"]
            decision = method(self, controller, trial, result)
            note(self)
            return decision

        setattr(Asha, name, call)

    add, refilled = Asha.on_trial_add, runner._scheduler

    def on_trial_add(self: Asha, controller: Any, trial: Any) -> None:
        numbers[trial.trial_id] = trial.config["number"]
        add(self, controller, trial)

    def scheduler(*arguments: Any) -> Any:
        made = refilled(*arguments)
        assert isinstance(made, Asha)
        note(made)
        return made

    for owner, name, watching in ((Asha, "on_trial_add", on_trial_add), (runner, "_scheduler", scheduler)):
        setattr(owner, name, watching)
    watched("on_trial_result")
    watched("on_trial_complete")


if __name__ == "__main__":
    watch(sys.argv.pop(1))
    cli.main(cli.app)
