"""The trials of a study: what they reported, and what they ended as.

A report is kept whole in a user attribute, `report:<steps>`; a failed trial has its `cause` in another. With a single
objective the report's value is an intermediate value too; with several it is not: TPE fails on those.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from study.record import artifacts, hparams, pathologies
from study.record.backend import together
from study.record.folder import OpenRun
from study.spec import StudySpec
from study.spec.measures import KEPT, PAUSED, RENAMED, STOPPED, VERSIONS, current, versions

REPORT = "report:"
TAKEN_UP = "taken_up"  # an attribute of a trial: when a process last began to work on it, in seconds since 1970

RAN_OUT = "ran_out"  # another: how it ran out of memory beside others; it is tried again alone


class Outcome(NamedTuple):
    """How many trials ended in which way, and the signal that stopped the work, if one did."""

    complete: int
    pruned: int
    failed: int
    signal: int | None = None
    halted: str = ""  # why the search gave up before its end


def outcome(study: optuna.Study, signum: int | None = None, halted: str = "") -> Outcome:
    """Counts the study's trials by how they ended."""
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    complete, pruned, failed = (
        states.count(state) for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    )
    return Outcome(complete, pruned, failed, signum, halted)


def owed(opened: OpenRun) -> int:
    """How many trials are still to be finished."""
    finished = sum(trial.state.is_finished() for trial in opened.study.get_trials(deepcopy=False))
    return max(0, opened.spec.trials - finished)


def put_off(opened: OpenRun) -> list[FrozenTrial]:
    """The trials that ran out of memory beside others, and are to be tried again alone, when the others have ended."""
    unfinished = opened.study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    return [trial for trial in unfinished if RAN_OUT in trial.user_attrs]


def is_oom(cause: str) -> bool:
    """Whether a failure's cause is that memory ran out."""
    return cause.startswith("oom: ")


def is_one_training(opened: OpenRun) -> bool:
    """Whether the run was made by `train`, which takes the defaults, and searches nothing."""
    drawn = opened.spec.default_draws()
    return opened.spec.trials == 1 and any(trial.params == drawn for trial in opened.study.get_trials(deepcopy=False))


def settle(opened: OpenRun) -> None:
    """Ends the trials whose end was decided and reported when their driver died, but not told."""
    study = opened.study
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        made = reports(trial)
        if end := ended(made, opened.spec):
            last, report = list(made.items())[-1]
            _store_value(study, trial._trial_id, {**report, "steps": last})  # the death may have come between the two
            tell(opened, trial.number, end)


class End(NamedTuple):
    """What a trial ended as."""

    state: TrialState
    values: list[float] | None  # of the objectives, where the state is COMPLETE
    cause: str  # where it is FAIL


def ended(reports: Mapping[int, Mapping[str, Any]], spec: StudySpec) -> End | None:
    """What a trial with these reports ended as; None while it goes on.

    COMPLETE at the full budget, PRUNED below it where its last report says that it was stopped, and FAIL where an
    objective is not finite at the end.

    Args:
        reports: steps -> measures.
        spec: of the study.
    """
    last = max(reports, default=0)
    if last < spec.steps:
        return End(TrialState.PRUNED, None, "") if reports and reports[last].get(STOPPED) else None
    values = [math.nan if (value := reports[last].get(name)) is None else value for name in spec.objectives]
    if all(math.isfinite(value) for value in values):
        return End(TrialState.COMPLETE, values, "")
    return End(TrialState.FAIL, None, f"nan: {list(spec.objectives)} were {values} at step {last}")


def id_of(study: optuna.Study, number: int) -> int:
    """The storage's id of a trial."""
    return study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)


def stored_trial(study: optuna.Study, number: int) -> FrozenTrial:
    """A trial as it is stored now, found without those before it."""
    return study._storage.get_trial(id_of(study, number))


def reports(trial: FrozenTrial) -> dict[int, dict[str, Any]]:
    """All reports of a trial: steps -> measures, ascending."""
    found = {
        int(key[len(REPORT) :]): current(value) for key, value in trial.user_attrs.items() if key.startswith(REPORT)
    }
    return dict(sorted(found.items()))


def new_trial(study: optuna.Study) -> optuna.trial.Trial:
    """Optuna's `ask` of a study in which no trial waits; to look through ten thousand for one takes it 8 ms."""
    study._thread_local.cached_all_trials = None
    return optuna.trial.Trial(study, study._storage.create_new_trial(study._study_id))


def take_up(study: optuna.Study, trial_id: int) -> None:
    """Notes that a process begins to work on a trial, which is drawn, and so RUNNING to Optuna, before one is free."""
    study._storage.set_trial_user_attr(trial_id, TAKEN_UP, time.time())


def store_report(study: optuna.Study, trial_id: int, report: Mapping[str, Any]) -> None:
    """Keeps a report; one for the same step takes the place of an earlier one.

    Args:
        study: whose storage.
        trial_id: the storage's id of the trial.
        report: the measures that its `measures` names, `steps`, and what of KEPT it has; what is not finite is stored
            as null. `done`, where it is given, says that the trial ends here: below the full budget because ASHA
            stopped it, or a pathology of `stop_on`; `paused`, that ASHA stopped it and it may go on.
    """
    steps = report["steps"]
    names = (*report["measures"], *(key for key in KEPT if key in report))  # an older checkpoint's has not all
    kept = {key: _finite(report[key]) for key in names} | {VERSIONS: versions(report["measures"])}
    for mark, given in ((STOPPED, "done"), (PAUSED, "paused")):
        if report.get(given):
            kept[mark] = True
    with together(study):
        study._storage.set_trial_user_attr(trial_id, f"{REPORT}{steps}", kept)
        _store_value(study, trial_id, report)


def _store_value(study: optuna.Study, trial_id: int, report: Mapping[str, Any]) -> None:
    """Keeps a report's value beside it, where the study has a single objective and the value is finite."""
    if len(study.directions) == 1:
        value, steps = report[_objective(study)], report["steps"]
        if value is not None and math.isfinite(value):
            study._storage.set_trial_intermediate_value(trial_id, steps, value)


@functools.lru_cache(maxsize=1)
def _objective(study: optuna.Study) -> str:
    """The measure that a study of a single one is after; to ask a server takes as long as to store a report."""
    (name,) = study.metric_names or ("elbo",)
    return RENAMED.get(name, name)


def finish(opened: OpenRun, number: int, report: Mapping[str, Any]) -> End:
    """Ends a trial after its last report, which says the cause where the trial failed."""
    end = End(TrialState.FAIL, None, report["cause"])
    if not end.cause:
        end = ended({report["steps"]: {**report, STOPPED: True}}, opened.spec) or end
    tell(opened, number, end, report.get("traceback", ""))
    return end


def tell(opened: OpenRun, number: int, end: End, traceback: str = "") -> None:
    """Ends a trial in the study; of a crash, with the last lines of its traceback. What people look at comes before:
    a death in between leaves the trial to be ended again, and all of this to be written again in its own place.
    """
    run, spec, study = opened
    trial_id = id_of(study, number)
    with together(study):
        for key, value in (("cause", end.cause), ("traceback", traceback)):
            if value:
                study._storage.set_trial_user_attr(trial_id, key, value)
        if run.trial(number).is_dir():  # else it has not begun
            with suppress(OSError):  # a full disk is no reason to leave the trial without its end
                settings = spec.settings_of(study._storage.get_trial(trial_id).params)
                hparams.write(run.trial(number), settings, failed=end.state == TrialState.FAIL)
                artifacts.attach(run, study, number, trial_id)
        if end.state != TrialState.FAIL:
            pathologies.tell(study, trial_id, reports(study._storage.get_trial(trial_id)))
        study.tell(number, end.values, end.state)


def fail(opened: OpenRun, number: int, cause: str, traceback: str = "") -> End:
    """Ends a trial as FAIL."""
    end = End(TrialState.FAIL, None, cause)
    tell(opened, number, end, traceback)
    return end


def _finite(value: Any) -> Any:
    """JSON has no NaN: such numbers become null."""
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The complete trial with the best first objective, without a pathology where any is; None while there is none."""
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return max(pathologies.sound(complete), key=lambda trial: trial.values[0], default=None)
