"""The Optuna study: the one truth about a run. The driver writes it, everyone may read it.

A report is kept whole in a user attribute, `report:<steps>`; a failed trial has its `cause` in another. With a single
objective the report's value is an intermediate value too; with several it is not: TPE fails on those.
"""

from __future__ import annotations

import warnings
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from study.folder import Run
from study.sampling import sampler
from study.spec import StudySpec

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
        KeyError: the storage holds no such study, and `create` is not asked for.
    """
    storage = url(run, spec)
    if create:
        directions = ["maximize"] * len(spec.objectives)
        study = optuna.create_study(storage=storage, study_name=spec.name, directions=directions, load_if_exists=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(spec.objectives))
    else:
        study = optuna.load_study(storage=storage, study_name=spec.name)
    study.sampler = sampler(spec, stored=len(study.get_trials(deepcopy=False)))
    return study


def reports(trial: FrozenTrial) -> dict[int, dict[str, Any]]:
    """All reports of a trial: steps -> metrics, ascending."""
    found = {int(key[len(REPORT) :]): value for key, value in trial.user_attrs.items() if key.startswith(REPORT)}
    return dict(sorted(found.items()))


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The complete trial with the best first objective; None while there is none."""
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return max(complete, key=lambda trial: trial.values[0], default=None)
