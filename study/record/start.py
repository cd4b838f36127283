"""Trials of an earlier study that a search learns of before its own. They are the sampler's alone, and no trials of the
run: no table has them, no rung of ASHA, no confirmation.

The run keeps them in start.json, so that it goes on with the same whatever becomes of the other run.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from typing import Any, NamedTuple

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from study.record.extension import differences
from study.record.folder import OpenRun, Run, RunError
from study.record.trials import reports
from study.spec import SpecError, StudySpec
from study.spec.measures import measure, versions_said
from study.spec.text import counted

FREE: dict[str, Any] = {
    **dict.fromkeys(("name", "fixed", "space", "sampler", "startup", "first", "trials", "asha", "confirm"), True),
    **dict.fromkeys(("resources", "storage", "max_failed", "seed"), True),
    "budget": {"report_every", "log_every"},
}
"""What the other study may have had otherwise; of pins and ranges each trial is judged by itself."""


class Start(NamedTuple):
    """What is taken from an earlier study."""

    run: str
    trials: list[FrozenTrial]
    left_out: Counter[str]  # why -> how many

    @property
    def line(self) -> str:
        """What is taken, and what is not and why."""
        states = Counter(trial.state.name.lower() for trial in self.trials)
        taken = ", ".join(f"{n} {state}" for state, n in sorted(states.items()))
        why = ", ".join(f"{n} {reason}" for reason, n in sorted(self.left_out.items()))
        left = f"; left out: {why}" if why else ""
        return f"learns first of {counted(len(self.trials), 'trial')} of {self.run} ({taken}){left}"

    def dump(self) -> str:
        """As JSON, which `read` reads."""
        trials = [
            {
                "state": trial.state.name,
                "values": trial.values,
                "params": trial.params,
                "distributions": {name: distribution_to_json(drawn) for name, drawn in trial.distributions.items()},
                "intermediate_values": trial.intermediate_values,
            }
            for trial in self.trials
        ]
        return json.dumps({"run": self.run, "trials": trials}, indent=1)


def read(run: Run) -> list[FrozenTrial]:
    """The trials that a run learns of first, numbered up to -1; none of most runs.

    Raises:
        RunError: what is kept of them is damaged.
    """
    if not run.start.is_file():
        return []
    try:
        kept = json.loads(run.start.read_text(encoding="utf-8"))["trials"]
        return [_trial(given, number - len(kept)) for number, given in enumerate(kept)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{run.start} is damaged ({error}); bring it back from a backup") from None


def _trial(given: dict[str, Any], number: int) -> FrozenTrial:
    trial = create_trial(
        state=TrialState[given["state"]],
        values=given["values"],
        params=given["params"],
        distributions={name: json_to_distribution(drawn) for name, drawn in given["distributions"].items()},
        intermediate_values={int(step): value for step, value in given["intermediate_values"].items()},
    )
    trial.number = number
    return trial


def taken(earlier: OpenRun, spec: StudySpec) -> Start:
    """The ended trials of another study that this one could have had.

    Args:
        earlier: the other one; nothing of it is changed.
        spec: of this one.

    Raises:
        SpecError: the sampler learns of nothing, the studies' numbers do not compare, or no trial fits.
    """
    name = earlier.run.name
    if spec.sampler != "tpe":
        raise SpecError("--start-from", [f"is for sampler tpe; this study's is {spec.sampler}"])
    if changed := differences(earlier.spec, spec, FREE):
        raise SpecError("--start-from", [f"{name} is no study of the same: {'; '.join(changed)}; name another run"])
    found = Start(name, [], Counter())
    for trial in earlier.study.get_trials(deepcopy=False):
        fitting = _fitting(trial, earlier.spec, spec)
        if isinstance(fitting, str):
            found.left_out[fitting] += 1
        else:
            found.trials.append(fitting)
    if not found.trials:
        raise SpecError("--start-from", [f"no trial of {name} can be taken: {found.line.partition('left out: ')[2]}"])
    return found


def _fitting(trial: FrozenTrial, its: StudySpec, spec: StudySpec) -> FrozenTrial | str:
    """A trial as this study would have drawn it, or why it would not."""
    if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
        return "failed or not ended"
    last = next(reversed(reports(trial).values()), {})
    said = versions_said(last)
    if any(said.get(name, 1) != measure(name).version for name in spec.objectives):
        return "measured otherwise"
    settings = its.settings_of(trial.params)
    drawn = FixedTrial({**settings, **trial.params})
    try:
        with warnings.catch_warnings():  # of what lies outside a range
            warnings.simplefilter("ignore", UserWarning)
            same = spec.draw(drawn) == settings
    except ValueError:
        return "with other hyperparameters"
    if not same:
        return "with other pins"
    if not all(_within(of, drawn.params[name]) for name, of in drawn.distributions.items()):
        return "outside the ranges"
    return create_trial(
        state=trial.state,
        values=trial.values,
        params=drawn.params,
        distributions=drawn.distributions,
        intermediate_values=trial.intermediate_values,
    )


def _within(distribution: BaseDistribution, value: Any) -> bool:
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except ValueError:  # it is none of the choices
        return False
