"""The Optuna study: the one truth about a run. The driver writes it, everyone may read it.

A report is kept whole in a user attribute, `report:<steps>`; a failed trial has its `cause` in another. With a single
objective the report's value is an intermediate value too; with several it is not: TPE fails on those.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

import models
from datasets import Splits
from study.checks import likelihood
from study.evaluation import METRICS
from study.folder import Run, RunError, write_whole
from study.preprocessing import images
from study.sampling import sampler
from study.spec import SpecError, StudySpec

optuna.logging.set_verbosity(optuna.logging.WARNING)

REPORT = "report:"
KIND = "kind"


def url(run: Run, spec: StudySpec) -> str:
    """Where the study is stored: an SQLite file in the run folder unless the specification says otherwise."""
    return spec.storage or f"sqlite:///{run.database}"


def open_study(run: Run, spec: StudySpec, create: bool = False) -> optuna.Study:
    """The run's study, with a sampler seeded for what is stored already.

    Args:
        run: its folder.
        spec: its specification.
        create: make it where it is missing.

    Raises:
        RunError: the run stopped before it had a study, and `create` is not asked for.
    """
    missing = not spec.storage and not run.database.is_file()
    if missing and not create:
        raise RunError(f"{run.folder} has no study yet; go on with `python -m study resume {run.argument}`")
    if missing:
        write_whole(run.database, lambda path: _make_sqlite(path, spec))
    elif create:
        _make(url(run, spec), spec)
    study = optuna.load_study(storage=url(run, spec), study_name=spec.name)
    study.sampler = sampler(spec, stored=len(study.get_trials(deepcopy=False)))
    return study


def check_storage_is_new(spec: StudySpec) -> None:
    """Raises SpecError unless a storage that the specification names can be opened and has no study of this name."""
    if not spec.storage:
        return
    try:
        names = optuna.get_all_study_names(spec.storage)
    except Exception as error:  # each driver has errors of its own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        needed = "it takes an Optuna URL such as sqlite:///studies.db or postgresql://user@host/database"
        raise SpecError(spec.name, [f"storage: cannot be opened ({reason}); {needed}"]) from None
    if spec.name in names:
        raise SpecError(spec.name, ["storage: holds a study of this name already; name another with --set name=..."])


def _make(storage: str | optuna.storages.BaseStorage, spec: StudySpec) -> None:
    directions = ["maximize"] * len(spec.objectives)
    study = optuna.create_study(storage=storage, study_name=spec.name, directions=directions, load_if_exists=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(list(spec.objectives))


def _make_sqlite(path: Path, spec: StudySpec) -> None:
    """Makes the database aside: a reader who opened a half-made one would bring itself and the maker down."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    _make(storage, spec)
    storage.remove_session()
    storage.engine.dispose()


class Outcome(NamedTuple):
    """How many trials ended in which way, and the signal that stopped the work, if one did."""

    complete: int
    pruned: int
    failed: int
    signal: int | None


def outcome(study: optuna.Study, signum: int | None = None) -> Outcome:
    """Counts the study's trials by how they ended."""
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    return Outcome(*map(states.count, (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)), signum)


def owed(study: optuna.Study, spec: StudySpec) -> int:
    """How many trials are still to be finished."""
    return max(0, spec.trials - sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False)))


def describe_data(study: optuna.Study, spec: StudySpec, splits: Splits) -> None:
    """Notes in the study what its ELBOs are: `bound` on a log-likelihood, or `soft cross-entropy`."""
    model = models.build(spec.model, spec.images.image_shape, **likelihood(spec))
    study.set_user_attr(KIND, model.likelihood_part.kind(images(spec, splits, "valid").binary))


def reports(trial: FrozenTrial) -> dict[int, dict[str, Any]]:
    """All reports of a trial: steps -> metrics, ascending."""
    found = {int(key[len(REPORT) :]): value for key, value in trial.user_attrs.items() if key.startswith(REPORT)}
    return dict(sorted(found.items()))


def store_report(study: optuna.Study, trial_id: int, report: Mapping[str, Any]) -> None:
    """Keeps a report; one for the same step takes the place of an earlier one.

    Args:
        study: whose storage.
        trial_id: the storage's id of the trial.
        report: metrics, `steps`, `seconds` and `train`; what is not finite is stored as null.
    """
    steps = report["steps"]
    kept = {key: _finite(report[key]) for key in (*METRICS, "seconds", "train")}
    study._storage.set_trial_user_attr(trial_id, f"{REPORT}{steps}", kept)
    if len(study.directions) == 1:
        value = report[study.metric_names[0]]
        if math.isfinite(value):
            study._storage.set_trial_intermediate_value(trial_id, steps, value)


def finish(study: optuna.Study, number: int, report: Mapping[str, Any], full: int) -> None:
    """Ends a trial after its last report: COMPLETE at the full budget, PRUNED below it, FAIL with a cause.

    Args:
        study: to tell.
        number: of the trial.
        report: its last, with `cause`.
        full: the budget in steps.
    """
    values = [report[metric] for metric in study.metric_names]
    if report["cause"]:
        fail(study, number, report["cause"])
    elif report["steps"] < full:
        study.tell(number, state=TrialState.PRUNED)
    elif all(math.isfinite(value) for value in values):
        study.tell(number, values)
    else:
        fail(study, number, f"nan: {study.metric_names} were {values} at step {report['steps']}")


def fail(study: optuna.Study, number: int, cause: str) -> None:
    """Ends a trial as FAIL, with its cause."""
    trial_id = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    study._storage.set_trial_user_attr(trial_id, "cause", cause)
    study.tell(number, state=TrialState.FAIL)


def _finite(value: Any) -> Any:
    """JSON has no NaN: such numbers become null."""
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The complete trial with the best first objective; None while there is none."""
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return max(complete, key=lambda trial: trial.values[0], default=None)
