"""The command line with an observer: ASHA's rungs, and who pauses, go to a file after each of its decisions, a line of
JSON each.

    python -m benchmarks.watched FILE run PRESET ...

The file is what a driver knew when it was killed: rungs are in its memory only.
"""

from __future__ import annotations

import functools
import json
import sys
from typing import Any

from study import cli
from study.spec.halving import Rule
from study.tune import runner
from study.tune.scheduler import Asha


def watch(path: str) -> None:
    """Has every ASHA of this process write its rungs and its pauses, {steps: {trial: value}} both, to that file."""

    def note(asha: Asha) -> None:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps([dict(asha.rungs), pausing(asha.rule)]) + "\n")

    def watched(name: str) -> None:
        method = getattr(Asha, name)

        @functools.wraps(method)
        def call(self: Asha, controller: Any, trial: Any, result: dict) -> Any:
            decision = method(self, controller, trial, result)
            note(self)
            return decision

        setattr(Asha, name, call)

    refilled = runner._scheduler

    def scheduler(*arguments: Any) -> Any:
        made = refilled(*arguments)
        assert isinstance(made, Asha)
        note(made)
        return made

    setattr(runner, "_scheduler", scheduler)  # noqa: B010 (an assignment has another type)
    watched("on_trial_result")
    watched("on_trial_complete")


def pausing(rule: Rule) -> dict[int, dict[int, float]]:
    """Who pauses at each rung."""
    table: dict[int, dict[int, float]] = {rung: {} for rung, _ in rule.rungs}
    for number, (rung, value) in rule.paused.items():
        table[rung][number] = value
    return table


if __name__ == "__main__":
    watch(sys.argv.pop(1))
    cli.main(cli.app)
