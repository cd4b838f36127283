"""Searches a study on Ray Tune.

`run` makes the run folder, `resume` opens it; both then go the same way: take the lock, hand the unfinished trials out
again, refill ASHA's rungs from the storage, and start a fresh Tuner for the trials still owed.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any

import optuna
from optuna.trial import TrialState
from ray import tune
from ray.tune.schedulers import FIFOScheduler

from study import checkpoint, tables
from study.cluster import ray_started  # before Ray itself: it sets what Ray reads when it is imported
from study.display import display
from study.folder import Run
from study.ledger import Ledger
from study.scheduler import Asha
from study.searcher import HandOut
from study.signals import Stop, stopping_on_signals
from study.spec import StudySpec
from study.storage import Outcome, check_storage_is_new, describe_data, open_study, outcome, owed
from study.trainable import Trainable
from study.trial import load_data

LOST_PROCESSES = 3  # how often a trial goes on after its process was lost


def run(spec: StudySpec, run: Run, *, data: str | None = None, address: str | None = None) -> Outcome:
    """Searches from the start, in a new run folder.

    Args:
        spec: what to do.
        run: a folder that does not exist.
        data: root of the data sets; None is the default one.
        address: of a Ray cluster; None starts Ray on this machine.

    Raises:
        SpecError: the machine or the cluster lacks what the specification asks for, or its storage cannot be had.
        DataError: the data set is not there.
        RunError: the run exists already.
    """
    run.check_absent()
    check_storage_is_new(spec)
    splits = load_data(spec, data)
    with _stopping(run) as stop, ray_started(spec, address):
        stop.leave_if_asked()
        run.create(spec)
        with run.locked():
            study = open_study(run, spec, create=True)
            describe_data(study, spec, splits)
            return _search(run, spec, study, data, stop)


def resume(run: Run, *, data: str | None = None, address: str | None = None) -> Outcome:
    """Goes on with a run; only writes its tables again if it is finished.

    Args:
        run: its folder.
        data: root of the data sets; None is the default one.
        address: of a Ray cluster; None starts Ray on this machine.

    Raises:
        SpecError, DataError: as for `run`.
        RunError: the run is in use, or its specification damaged.
    """
    spec = run.spec()
    with run.locked():
        study = open_study(run, spec, create=True)
        if not owed(study, spec):
            tables.write(run)
            return outcome(study)
        describe_data(study, spec, load_data(spec, data))
        with _stopping(run) as stop, ray_started(spec, address):
            return _search(run, spec, study, data, stop)


def _stopping(run: Run) -> AbstractContextManager[Stop]:
    command = f"python -m study resume {run.argument}"
    return stopping_on_signals(lambda: command if run.study_yaml.is_file() else "the same command, nothing is written")


def _search(run: Run, spec: StudySpec, study: optuna.Study, data: str | None, stop: Stop) -> Outcome:
    unfinished = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    tuner = tune.Tuner(
        tune.with_resources(Trainable, {"cpu": spec.resources.cpus, "gpu": spec.resources.gpus}),
        tune_config=tune.TuneConfig(
            search_alg=HandOut(study, spec, run, data, unfinished),
            scheduler=_scheduler(run, spec, study),
            num_samples=owed(study, spec),
            reuse_actors=True,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name=run.ray.name,
            storage_path=str(run.folder),
            verbose=0,
            stop=_Stopper(stop),
            callbacks=[Ledger(study, spec), display(study, spec)],  # the display reads what the ledger wrote
            failure_config=tune.FailureConfig(max_failures=LOST_PROCESSES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )
    tuner.fit()
    tables.write(run)
    return outcome(study, stop.signal)


def _scheduler(run: Run, spec: StudySpec, study: optuna.Study) -> Asha | FIFOScheduler:
    if spec.asha is None:
        return FIFOScheduler()
    asha = Asha(spec)
    for trial in study.get_trials(deepcopy=False):
        goes_on = trial.state == TrialState.RUNNING
        asha.refill(trial, below=_checkpoint_step(run, trial.number) if goes_on else math.inf)
    return asha


def _checkpoint_step(run: Run, number: int) -> int:
    state = checkpoint.load(run.trial(number) / checkpoint.LAST)
    return 0 if state is None else state["training"]["step"]


def _name(trial: Any) -> str:
    return f"{trial.config['number']:05d}"


class _Stopper(tune.Stopper):
    """Ends the search after a signal."""

    def __init__(self, stop: Stop):
        self.stop = stop

    def __call__(self, trial_id: str, result: dict) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.stop.signal is not None
