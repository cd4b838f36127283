"""Trials that pause: who does, who was handed out again and when, and who ends after all.

To Optuna a paused trial is RUNNING, so that it can go on. That it pauses stands in its last report, and so survives a
kill; `handed_out:<steps>` beside the reports says that it went on from there, and after how many reports of the study.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from study.record.folder import OpenRun
from study.record.trials import REPORT, End, id_of, reports, tell
from study.spec.halving import Rule
from study.spec.measures import PAUSED, PLACE

HANDED_OUT = "handed_out:"  # attributes of a trial, by the steps from which it goes on
PUT_AWAY = "put_away"  # of one that paused and did not go on: after how many reports of the study it ended
WHOLE = "whole"  # in the first: the trial goes on to the end of its budget


def paused_at(trial: FrozenTrial) -> int | None:
    """The steps at which a trial pauses; None where it does not."""
    if trial.state != TrialState.RUNNING:
        return None
    attributes = trial.user_attrs
    last = max((int(key[len(REPORT) :]) for key in attributes if key.startswith(REPORT)), default=0)
    paused = attributes.get(f"{REPORT}{last}", {}).get(PAUSED) and f"{HANDED_OUT}{last}" not in attributes
    return last if paused else None


def paused(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that pause now."""
    running = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    return [trial for trial in running if paused_at(trial) is not None]


def at_work(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that have neither ended nor pause: a process is at work on them, or they are to be handed out."""
    running = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    return [trial for trial in running if paused_at(trial) is None]


def as_stopped(trial: FrozenTrial) -> FrozenTrial:
    """A trial as it is, but PRUNED where it pauses."""
    if paused_at(trial) is None:
        return trial
    stopped = copy.copy(trial)
    stopped.state = TrialState.PRUNED
    return stopped


def fill(rule: Rule, trial: FrozenTrial, objective: str) -> None:
    """Records a stored trial in a rule as the live search did, without judging it again."""
    for steps, report in reports(trial).items():
        value = report[objective]
        rule.record(trial.number, steps, math.nan if value is None else value)
    for turn in _turns(trial):
        if turn.steps and not turn.whole:
            rule.went_on(turn.steps)
    if (at := paused_at(trial)) is not None:
        rule.pause(trial.number, at)
    elif trial.state == TrialState.RUNNING and any(turn.whole for turn in _turns(trial)):
        rule.whole.add(trial.number)
    elif trial.state == TrialState.COMPLETE:
        rule.end(trial.number, complete=True)


class Turn(NamedTuple):
    """When a trial was handed out to go on from some steps, or was put away for good."""

    place: int  # so many reports of the study were there
    number: int
    steps: int = 0
    whole: bool = False  # it goes on to the end of its budget
    away: bool = False


def turns(trials: Iterable[FrozenTrial]) -> list[Turn]:
    """Those of a study that are known, in order: of one place who was promoted first, who is new, who is to finish."""
    return sorted(
        (turn for trial in trials for turn in _turns(trial)),
        key=lambda turn: (turn.place, turn.away, turn.whole, not turn.steps),
    )


def _turns(trial: FrozenTrial) -> list[Turn]:
    found = [
        Turn(value[PLACE], trial.number, int(key[len(HANDED_OUT) :]), value[WHOLE])
        for key, value in trial.user_attrs.items()
        if key.startswith(HANDED_OUT)
    ]
    place = trial.user_attrs.get(PUT_AWAY)
    return found if place is None else [*found, Turn(place, trial.number, away=True)]


def hand_out(study: optuna.Study, trial_id: int, steps: int, place: int, whole: bool = False) -> None:
    """Notes that a trial is handed out: how far it is, after how many reports of the study, and for how long."""
    kept: dict[str, Any] = {PLACE: place, WHOLE: whole}
    study._storage.set_trial_user_attr(trial_id, f"{HANDED_OUT}{steps}", kept)


def put_away(opened: OpenRun, number: int, place: int) -> None:
    """Ends a paused trial as PRUNED: it cannot go on any more."""
    opened.study._storage.set_trial_user_attr(id_of(opened.study, number), PUT_AWAY, place)
    tell(opened, number, End(TrialState.PRUNED, None, ""))


def next_place(study: optuna.Study) -> int:
    """How many reports the study has, of those that came to this release or one like it."""
    made = (report.get(PLACE) for trial in study.get_trials(deepcopy=False) for report in reports(trial).values())
    return max((place for place in made if place is not None), default=-1) + 1


def settle(opened: OpenRun) -> None:
    """Ends the paused trials that were not to go on any more when their driver died: all, where its search was over."""
    _, spec, study = opened
    if not spec.pauses or not (waiting := paused(study)):
        return
    rule, trials = spec.rule(), study.get_trials(deepcopy=False)
    for trial in trials:
        fill(rule, trial, spec.objectives[0])
    kept = {*rule.paused}
    drawn = len(trials) >= spec.trials
    if drawn and not at_work(study) and rule.promoted() is None and rule.finishing() is None:
        kept.clear()
    place = next_place(study)
    for trial in waiting:
        if trial.number not in kept:
            put_away(opened, trial.number, place)
