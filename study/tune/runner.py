"""Searches a study on Ray Tune.

`run` makes the run folder, `resume` opens it; both then go the same way: take the lock, hand the unfinished trials out
again, refill ASHA's rungs from the storage, and start a fresh Tuner for the trials still owed. A trial that ran out of
memory is handed out once more when these have ended, by a Tuner that gives it a whole card: Ray's trials keep what they
were given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

from optuna.trial import FrozenTrial
from ray import tune
from ray.tune.schedulers import FIFOScheduler

from study.record import first, tables
from study.record.folder import OpenRun, Run
from study.record.packed import as_packed, kept
from study.record.pauses import at_work
from study.record.progress import begin
from study.record.start import Start
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
from study.record.trials import Outcome, outcome, owed, put_off
from study.signals import Stop, stopping_on_signals
from study.spec import StudySpec, dump
from study.spec.text import command
from study.trial.trial import load_data
from study.tune.actors import leave_those_that_start
from study.tune.cards import measured, placed
from study.tune.cluster import ray_started
from study.tune.display import display
from study.tune.hours import Hours
from study.tune.ledger import LOST_PROCESSES, Ledger
from study.tune.scheduler import Asha
from study.tune.searcher import HandOut
from study.tune.trainable import Trainable
from study.tune.turns import InTurn, Room

ENDLESS = -1  # to Ray Tune: the searcher says when it has no more; a trial that paused is handed out once more


def run(
    spec: StudySpec,
    run: Run,
    *,
    data: str | None = None,
    address: str | None = None,
    wait: bool = False,
    hours: float | None = None,
    start: Start | None = None,
) -> Outcome:
    """Searches from the start, in a new run folder.

    Args:
        spec: what to do.
        run: a folder that does not exist.
        data: root of the data sets; None is the default one.
        address: of a Ray cluster; None is the one that RAY_ADDRESS names, or else a Ray that is started here.
        wait: for a machine of the cluster that has room for a trial.
        hours: that the search may take; it ends with as many trials as fit, see `study.tune.hours`.
        start: what it learns of first.

    Raises:
        SpecError: the specification searches nothing, the machine or the cluster lacks what it asks for, or its
            storage cannot be had.
        DataError: the data set is not there.
        RunError: the run exists already.
        MachineError: Ray could not be started or joined.
    """
    limit = Hours(hours)
    check_searches(spec)
    run.check_new()
    check_storage_is_new(spec)
    splits = load_data(spec, data)
    with _stopping(run) as stop, ray_started(spec, run.path, address, wait, stop):
        stop.leave_if_asked()
        found = measured(spec, data, stop)
        create(run, spec, None if start is None else start.dump())
        with run.locked():
            opened = open_run(run, spec, create=True)
            describe_data(opened, splits)
            return _search(opened._replace(spec=placed(opened, data, stop, found)), data, stop, limit)


def resume(
    run: Run,
    *,
    spec: StudySpec | None = None,
    data: str | None = None,
    address: str | None = None,
    wait: bool = False,
    hours: float | None = None,
) -> Outcome:
    """Goes on with a run; only writes its tables again if it is finished.

    Args:
        run: its folder.
        spec: takes the place of the run's own, with more trials for instance; see `study.record.extension`.
        data: root of the data sets; None is the default one.
        address: of a Ray cluster; None is the one that RAY_ADDRESS names, or else a Ray that is started here.
        wait: for a machine of the cluster that has room for a trial.
        hours: as for `run`, from now on.

    Raises:
        SpecError, DataError, MachineError: as for `run`.
        RunError: the run is in use, or its specification damaged.
    """
    limit = Hours(hours)
    with run.locked():
        opened = reopen(run, spec)
        if not owed(opened):
            if spec is not None:
                _keep(opened)
            return tables.end(run, outcome(opened.study))
        check_data(opened)
        splits = load_data(opened.spec, data)
        given = as_packed(opened.spec, kept(opened))
        with _stopping(run, spec) as stop, ray_started(given, run.path, address, wait, stop):
            spec_placed = placed(opened, data, stop)
            if spec is not None:
                _keep(opened)
            describe_data(opened, splits)
            return _search(opened._replace(spec=spec_placed), data, stop, limit)


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


def _search(opened: OpenRun, data: str | None, stop: Stop, hours: Hours) -> Outcome:
    run, _, study = opened
    first.enqueue(opened)
    run.mark()
    begin(opened)
    ledger = Ledger(opened)
    try:
        for alone in (False, True):
            again = _owed(opened, alone) > 0
            while again and not ledger.halt and not hours.over and stop.signal is None:
                ledger.left.clear()
                _fit(opened, data, stop, ledger, hours, alone)
                again = bool(ledger.left)
        if stop.signal is None and not hours.over:
            ledger.close()
    except Exception:
        if not ledger.halt:
            raise
    if ledger.halt:  # the disk may be full, the storage gone; tables can be made again, and trials counted
        with suppress(Exception):
            tables.write(run)
            return outcome(study, stop.signal, ledger.halt)
        return Outcome(0, 0, 0, stop.signal, ledger.halt)
    if stop.signal is None and (settled := hours.settle(opened)) is not opened:
        _keep(settled)
    return tables.end(run, outcome(study, stop.signal))


def _owed(opened: OpenRun, alone: bool) -> int:
    """How many trials are still to be handed out, beside each other or alone."""
    waiting = len(put_off(opened))
    return waiting if alone else owed(opened) - waiting


def _fit(opened: OpenRun, data: str | None, stop: Stop, ledger: Ledger, hours: Hours, alone: bool) -> None:
    """Hands out the trials that are owed, the unfinished ones first, until all have ended, are left or are put off.

    Args:
        opened, data, stop, ledger, hours: of the search.
        alone: those that were put off, for want of memory: each on a whole card or, on CPUs, one at a time.
    """
    run, spec, study = opened
    later = [trial.number for trial in put_off(opened)]
    unfinished = [trial for trial in at_work(study) if (trial.number in later) == alone]
    scheduler = _scheduler(opened)
    leave_those_that_start()
    tuner = tune.Tuner(
        tune.with_resources(Trainable, placement(spec, alone)),
        tune_config=tune.TuneConfig(
            search_alg=_searcher(opened, data, unfinished, hours, scheduler, ledger),
            scheduler=scheduler,
            num_samples=ENDLESS if spec.pauses else _owed(opened, alone),
            max_concurrent_trials=1 if alone and not spec.resources.least_gpus else None,
            reuse_actors=True,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name=run.ray.name,
            storage_path=str(run.path),
            verbose=0,
            stop=_Stopper(stop, ledger, hours),
            callbacks=[ledger, display(opened, hours)],  # the display reads what the ledger wrote
            failure_config=tune.FailureConfig(max_failures=LOST_PROCESSES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )
    tuner.fit()


def placement(spec: StudySpec, alone: bool = False) -> dict[str, float]:
    """What Ray is asked for a trial; alone, it has whole cards in the place of a share of one."""
    gpus = spec.resources.least_gpus
    return {"cpu": spec.resources.cpus, "gpu": math.ceil(gpus) if alone else gpus}


def _scheduler(opened: OpenRun) -> Asha | FIFOScheduler:
    if opened.spec.asha is None:
        return FIFOScheduler()
    asha = Asha(opened.spec)
    for trial in opened.study.get_trials(deepcopy=False):
        asha.refill(trial)
    return asha


def _searcher(
    opened: OpenRun,
    data: str | None,
    unfinished: Sequence[FrozenTrial],
    hours: Hours,
    scheduler: Asha | FIFOScheduler,
    ledger: Ledger,
) -> HandOut:
    if not opened.spec.pauses:
        return HandOut(opened, data, unfinished, hours.takes)
    assert isinstance(scheduler, Asha)
    ledger.follow(scheduler.rule)
    return InTurn(opened, data, unfinished, scheduler.rule, ledger, Room(opened.spec), hours.takes)


def _name(trial: Any) -> str:
    return f"{trial.config['number']:05d}"


class _Stopper(tune.Stopper):
    """Ends the search after a signal, when the ledger says so, or when its time is over."""

    def __init__(self, stop: Stop, ledger: Ledger, hours: Hours):
        self.stop, self.ledger, self.hours = stop, ledger, hours

    def __call__(self, trial_id: str, result: dict) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.stop.signal is not None or bool(self.ledger.halt) or self.hours.over
