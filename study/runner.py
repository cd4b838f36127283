"""Starts and resumes the search of a study on Ray Tune.

`run` makes the run folder, `resume` opens it; both then go the same way: take the lock, hand the unfinished trials out
again, refill ASHA's rungs from the storage, and start a fresh Tuner for the trials still owed.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

# Read by Ray when it is imported: no handler, loggers, progress tables or tracebacks of its own.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "600")

import optuna
import ray
from optuna.trial import TrialState
from ray import tune
from ray.tune.schedulers import FIFOScheduler

import datasets
import models
from study import checkpoint, tables
from study.display import Lines
from study.evaluation import is_binary
from study.folder import Run
from study.ledger import Ledger
from study.scheduler import Asha
from study.searcher import HandOut
from study.spec import SpecError, StudySpec
from study.storage import KIND, open_study
from study.trainable import Trainable

PROJECT = Path(__file__).resolve().parent.parent
LOST_PROCESSES = 3  # how often a trial goes on after its process was lost
EXIT_SECONDS = 6.0  # after a signal, how long Ray may take to stop


class Outcome(NamedTuple):
    """How a search ended."""

    complete: int
    pruned: int
    failed: int
    signal: int | None  # that stopped it, or None


def run(spec: StudySpec, run: Run, *, data: str | None = None, address: str | None = None) -> Outcome:
    """Searches from the start, in a new run folder.

    Args:
        spec: what to do.
        run: a folder that does not exist.
        data: root of the data sets; None is the default one.
        address: of a Ray cluster; None starts Ray on this machine.

    Raises:
        SpecError: the machine or the cluster lacks what the specification asks for.
        DataError: the data set is not there.
        RunError: the run exists already.
    """
    splits = datasets.load(spec.dataset, data)
    if run.folder.exists():
        run.create(spec)  # says what to do
    with ray_started(spec, address):
        run.create(spec)
        with run.locked():
            study = open_study(run, spec, create=True)
            study.set_user_attr(KIND, _kind(spec, splits))
            return _search(run, spec, study, data)


def resume(run: Run, *, data: str | None = None, address: str | None = None) -> Outcome:
    """Goes on with a run; does nothing if it is finished.

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
        splits = datasets.load(spec.dataset, data)
        study.set_user_attr(KIND, _kind(spec, splits))
        with ray_started(spec, address):
            return _search(run, spec, study, data)


def owed(study: optuna.Study, spec: StudySpec) -> int:
    """How many trials are still to be finished."""
    return max(0, spec.trials - sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False)))


def outcome(study: optuna.Study, signum: int | None = None) -> Outcome:
    """Counts the study's trials by how they ended."""
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    counts = (states.count(state) for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    return Outcome(*counts, signum)


def _kind(spec: StudySpec, splits: datasets.Splits) -> str:
    """What this study's ELBOs are: `bound` or `soft cross-entropy`."""
    import torch

    model = models.build(spec.model, splits.train.images.shape[1:], likelihood=spec.likelihood, sigma=spec.sigma)
    return model.likelihood_part.kind(is_binary(torch.from_numpy(splits.valid.images)))


def _search(run: Run, spec: StudySpec, study: optuna.Study, data: str | None) -> Outcome:
    unfinished = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    scheduler = FIFOScheduler()
    if spec.asha is not None:
        scheduler = Asha(spec)
        for trial in study.get_trials(deepcopy=False):
            going_on = trial.state == TrialState.RUNNING
            scheduler.refill(trial, below=_checkpoint_step(run, trial.number) if going_on else float("inf"))

    with stopping_on_signals(run) as stopper:
        tuner = tune.Tuner(
            tune.with_resources(Trainable, {"cpu": spec.resources.cpus, "gpu": spec.resources.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=HandOut(study, spec, run, data, unfinished),
                scheduler=scheduler,
                num_samples=owed(study, spec),
                reuse_actors=True,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name=run.ray.name,
                storage_path=str(run.folder),
                verbose=0,
                stop=stopper,
                callbacks=[Ledger(study, spec), Lines(study, spec)],
                failure_config=tune.FailureConfig(max_failures=LOST_PROCESSES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        )
        tuner.fit()
        tables.write(run)
        return outcome(study, stopper.signal)


def _name(trial: Any) -> str:
    return f"{trial.config['number']:05d}"


def _checkpoint_step(run: Run, number: int) -> int:
    state = checkpoint.load(run.trial(number) / checkpoint.LAST)
    return 0 if state is None else state["training"]["step"]


@contextmanager
def ray_started(spec: StudySpec, address: str | None) -> Iterator[None]:
    """Ray, started or joined, with room for at least one trial; shut down afterwards if it was not up before.

    Raises:
        SpecError: there is no room for a trial.
    """
    started = not ray.is_initialized()
    if started:
        logging.getLogger("ray.tune").setLevel(logging.ERROR)
        options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
        if address is None:
            paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
            os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # for the workers, from whichever folder this is called
            ray.init(address="local", num_cpus=len(os.sched_getaffinity(0)), **options)
        else:
            excludes = ["/runs", "/data", "/.venv", "/.git"]
            ray.init(address=address, runtime_env={"working_dir": str(PROJECT), "excludes": excludes}, **options)
    try:
        _check_room(spec)
        yield
    finally:
        if started:
            ray.shutdown()


def _check_room(spec: StudySpec) -> None:
    there = ray.cluster_resources()
    cpus, gpus = there.get("CPU", 0), there.get("GPU", 0)
    problems = []
    if spec.resources.gpus > gpus:
        problems.append(
            f"resources.gpus: a trial asks for {spec.resources.gpus:g} GPU, this cluster has {gpus:g}; "
            f"add --set resources.gpus=0 to run on CPUs"
        )
    if spec.resources.cpus > cpus:
        problems.append(f"resources.cpus: a trial asks for {spec.resources.cpus} CPUs, this cluster has {cpus:g}")
    if problems:
        raise SpecError(spec.name, problems)


class SignalStopper(tune.Stopper):
    """Ends the search after a signal."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self, trial_id: str, result: dict) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.signal is not None


@contextmanager
def stopping_on_signals(run: Run) -> Iterator[SignalStopper]:
    """SIGINT and SIGTERM stop the search softly; a second one, or a stop that takes too long, ends the process at once.

    The storage is whole at every moment, so that a hard end loses at most the work since the last report.
    """
    stopper = SignalStopper()

    def handle(signum: int, frame: FrameType | None) -> None:
        if stopper.signal is not None:
            os._exit(128 + signum)
        stopper.signal = signum
        print(f"\nstopping; go on with: python -m study resume {_as_argument(run)}", file=sys.stderr, flush=True)
        timer = threading.Timer(EXIT_SECONDS, os._exit, (128 + signum,))
        timer.daemon = True
        timer.start()

    if threading.current_thread() is not threading.main_thread():
        yield stopper
        return
    before = {signum: signal.signal(signum, handle) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopper
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _as_argument(run: Run) -> str:
    """How the command line names a run: by its name where it lies in runs/, else by its path."""
    return run.name if run.folder.parent == Path("runs").resolve() else str(run.folder)
