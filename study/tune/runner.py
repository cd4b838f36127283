"""Searches a study on Ray Tune.

`run` makes the run folder, `resume` opens it; both then go the same way: take the lock, hand the unfinished trials out
again, refill ASHA's rungs from the storage, and start a fresh Tuner for the trials still owed.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler

from study.record import tables
from study.record.folder import OpenRun, Run
from study.record.pauses import at_work
from study.record.progress import begin
from study.record.storage import (
    SPEC,
    check_data,
    check_searches,
    check_storage_is_new,
    create,
    describe_data,
    open_run,
    reopen,
)
from study.record.trials import Outcome, outcome, owed
from study.signals import Stop, stopping_on_signals
from study.spec import StudySpec, dump
from study.spec.text import command
from study.trial.trial import load_data
from study.tune.cluster import ray_started
from study.tune.display import display
from study.tune.ledger import LOST_PROCESSES, Ledger
from study.tune.scheduler import Asha
from study.tune.searcher import HandOut
from study.tune.trainable import Trainable
from study.tune.turns import InTurn, Room

ENDLESS = -1  # to Ray Tune: the searcher says when it has no more; a trial that paused is handed out once more


def run(
    spec: StudySpec, run: Run, *, data: str | None = None, address: str | None = None, wait: bool = False
) -> Outcome:
    """Searches from the start, in a new run folder.

    Args:
        spec: what to do.
        run: a folder that does not exist.
        data: root of the data sets; None is the default one.
        address: of a Ray cluster; None is the one that RAY_ADDRESS names, or else a Ray that is started here.
        wait: for a machine of the cluster that has room for a trial.

    Raises:
        SpecError: the specification searches nothing, the machine or the cluster lacks what it asks for, or its
            storage cannot be had.
        DataError: the data set is not there.
        RunError: the run exists already.
        MachineError: Ray could not be started or joined.
    """
    check_searches(spec)
    run.check_new()
    check_storage_is_new(spec)
    splits = load_data(spec, data)
    with _stopping(run) as stop, ray_started(spec, run.path, address, wait, stop):
        stop.leave_if_asked()
        create(run, spec)
        with run.locked():
            opened = open_run(run, spec, create=True)
            describe_data(opened, splits)
            return _search(opened, data, stop)


def resume(
    run: Run,
    *,
    spec: StudySpec | None = None,
    data: str | None = None,
    address: str | None = None,
    wait: bool = False,
) -> Outcome:
    """Goes on with a run; only writes its tables again if it is finished.

    Args:
        run: its folder.
        spec: takes the place of the run's own, with more trials for instance; see `study.record.extension`.
        data: root of the data sets; None is the default one.
        address: of a Ray cluster; None is the one that RAY_ADDRESS names, or else a Ray that is started here.
        wait: for a machine of the cluster that has room for a trial.

    Raises:
        SpecError, DataError, MachineError: as for `run`.
        RunError: the run is in use, or its specification damaged.
    """
    with run.locked():
        opened = reopen(run, spec)
        if not owed(opened):
            if spec is not None:
                _keep(opened)
            return tables.end(run, outcome(opened.study))
        check_data(opened)
        splits = load_data(opened.spec, data)
        with _stopping(run, spec) as stop, ray_started(opened.spec, run.path, address, wait, stop):
            if spec is not None:
                _keep(opened)
            describe_data(opened, splits)
            return _search(opened, data, stop)


def _keep(opened: OpenRun) -> None:
    """Writes the specification with which a run goes on in the place of its own."""
    opened.run.rewrite(opened.spec)
    opened.study.set_user_attr(SPEC, dump(opened.spec))


def _stopping(run: Run, spec: StudySpec | None = None) -> AbstractContextManager[Stop]:
    """Signals heard; what goes on is `resume` as soon as the run, or the specification in its place, is written."""

    def how_to_go_on() -> str:
        kept = run.study_yaml.read_text(encoding="utf-8") if run.study_yaml.is_file() else None
        if kept is None or (spec is not None and kept != dump(spec)):
            return "the same command, nothing is written"
        return command("resume", run.argument)

    return stopping_on_signals(how_to_go_on)


def _search(opened: OpenRun, data: str | None, stop: Stop) -> Outcome:
    run, _, study = opened
    begin(opened)
    ledger = Ledger(opened)
    try:
        _fit(opened, data, stop, ledger)
        while ledger.left and not ledger.halt and stop.signal is None:
            ledger.left.clear()
            _fit(opened, data, stop, ledger)
        if stop.signal is None:
            ledger.close()
    except Exception:
        if not ledger.halt:
            raise
    if ledger.halt:  # the disk may be full, the storage gone; tables can be made again, and trials counted
        with suppress(Exception):
            tables.write(run)
            return outcome(study, stop.signal, ledger.halt)
        return Outcome(0, 0, 0, stop.signal, ledger.halt)
    return tables.end(run, outcome(study, stop.signal))


def _fit(opened: OpenRun, data: str | None, stop: Stop, ledger: Ledger) -> None:
    """Hands out the trials that are owed, the unfinished ones first, until all have ended or are left."""
    run, spec, _ = opened
    scheduler = _scheduler(opened)
    tuner = tune.Tuner(
        tune.with_resources(Trainable, {"cpu": spec.resources.cpus, "gpu": spec.resources.gpus}),
        tune_config=tune.TuneConfig(
            search_alg=_searcher(opened, data, scheduler, ledger),
            scheduler=scheduler,
            num_samples=ENDLESS if spec.pauses else owed(opened),
            reuse_actors=True,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name=run.ray.name,
            storage_path=str(run.path),
            verbose=0,
            stop=_Stopper(stop, ledger),
            callbacks=[ledger, display(opened)],  # the display reads what the ledger wrote
            failure_config=tune.FailureConfig(max_failures=LOST_PROCESSES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )
    tuner.fit()


def _scheduler(opened: OpenRun) -> Asha | FIFOScheduler:
    if opened.spec.asha is None:
        return FIFOScheduler()
    asha = Asha(opened.spec)
    for trial in opened.study.get_trials(deepcopy=False):
        asha.refill(trial)
    return asha


def _searcher(opened: OpenRun, data: str | None, scheduler: Asha | FIFOScheduler, ledger: Ledger) -> HandOut:
    unfinished = at_work(opened.study)
    if not isinstance(scheduler, Asha) or not opened.spec.pauses:
        return HandOut(opened, data, unfinished)
    ledger.follow(scheduler.rule)
    return InTurn(opened, data, unfinished, scheduler.rule, ledger, Room(opened.spec))


def _name(trial: Any) -> str:
    return f"{trial.config['number']:05d}"


class _Stopper(tune.Stopper):
    """Ends the search after a signal, or when the ledger says so."""

    def __init__(self, stop: Stop, ledger: Ledger):
        self.stop, self.ledger = stop, ledger

    def __call__(self, trial_id: str, result: dict) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.stop.signal is not None or bool(self.ledger.halt)
