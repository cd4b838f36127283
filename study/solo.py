"""One trial in this process, without Ray: the paper's defaults, or a study of a single trial that goes on."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
import torch
from optuna.trial import TrialState

import imagesets
from study.record import tables
from study.record.backend import reason
from study.record.first import DEFAULTS, ORIGIN
from study.record.folder import OpenRun, Run
from study.record.packed import Packed
from study.record.progress import Pace, begin
from study.record.storage import check_storage_is_new, create, describe_data, open_run, reopen
from study.record.trials import Outcome, finish, outcome, owed, store_report, take_up
from study.record.words import describe, pace
from study.signals import Stop, stopping_on_signals
from study.spec import SpecError, StudySpec
from study.spec.room import Has, check_room, lacking
from study.spec.text import command
from study.trial import arithmetic
from study.trial.seeds import derived_seed
from study.trial.trial import Trial, failed, load_data


def train(spec: StudySpec, run: Run, *, data: str | None = None) -> Outcome:
    """Trains the paper's defaults, with what the specification pins, once.

    Args:
        spec: of a study; its trials and ASHA do not count.
        run: a folder that does not exist.
        data: root of the data sets; None is the default one.

    Raises:
        SpecError: a GPU is asked for and there is none, or the storage cannot be had.
        DataError: the data set is not there.
        RunError: the run exists already.
    """
    run.check_new()
    check_storage_is_new(spec)
    spec = spec.model_copy(update={"trials": 1, "asha": None})
    check_room(spec)
    splits = load_data(spec, data)
    where = device(spec)
    create(run, spec)
    with run.locked():
        opened = open_run(run, spec, create=True)
        describe_data(opened, splits)
        return _go(opened, splits, where)


def resume(run: Run, *, data: str | None = None) -> Outcome:
    """Goes on with a run of one trial; only writes its tables again if it is finished.

    Arguments and errors as for `train`.
    """
    with run.locked():
        opened = reopen(run)
        if not owed(opened):
            return tables.end(run, outcome(opened.study))
        check_room(opened.spec)
        splits = load_data(opened.spec, data)
        describe_data(opened, splits)
        return _go(opened, splits, device(opened.spec))


def device(spec: StudySpec) -> torch.device:
    """The first GPU, whole, if the specification asks for one, or with `auto` if there is one; else the CPU.

    Raises:
        SpecError: there is no GPU, or it does not compute in the specification's precision.
    """
    arithmetic.prepare(spec.deterministic)
    found = torch.device("cpu")
    if spec.resources.gpus:
        if torch.cuda.is_available():
            found = torch.device("cuda", 0)
        elif spec.resources.gpus == "auto":
            print(Packed(0.0).told(), flush=True)
        else:
            raise SpecError(spec.name, lacking(spec, "this machine", [Has(spec.resources.cpus, 0)]))
    if obstacle := arithmetic.obstacle(spec.precision, found):
        raise SpecError(spec.name, [obstacle])
    return found


def _go(opened: OpenRun, splits: imagesets.Splits, where: torch.device) -> Outcome:
    run, spec, study = opened
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(spec.default_draws(), {ORIGIN: DEFAULTS})
    begin(opened)
    unfinished = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    stored = optuna.trial.Trial(study, unfinished[0]._trial_id) if unfinished else study.ask()
    with warnings.catch_warnings():  # the paper's own values may lie outside a range that was narrowed
        warnings.simplefilter("ignore", UserWarning)
        settings = spec.draw(stored)
    kept = Pace(opened)
    with stopping_on_signals(lambda: command("resume", run.argument)) as stop:
        trial = None
        try:
            with _writing():
                take_up(study, stored._trial_id)
            seed, folder = derived_seed(spec.seed, stored.number), run.trial(stored.number)
            trial = Trial(spec, settings, splits, seed=seed, folder=folder, device=where)
            report = _train(opened, stored, trial, stop, kept)
        except _LostStudyError as error:
            return Outcome(0, 0, 0, stop.signal, str(error))
        except Exception as error:
            report = failed(error, trial.training.step if trial else 0, spec)
        finally:
            if trial is not None:
                trial.close()
        halted = report["cause"] if report.get("halt") else ""
        if stop.signal is None and not halted:
            try:
                _end(opened, stored.number, report)
            except _LostStudyError as error:
                return Outcome(0, 0, 0, stop.signal, str(error))
        return tables.end(run, outcome(study, stop.signal, halted))


def _train(opened: OpenRun, stored: optuna.trial.Trial, trial: Trial, stop: Stop, kept: Pace) -> dict[str, Any]:
    """Trains until the end or a signal, keeping each report, and returns the last one."""
    report: dict[str, Any] = {"cause": ""}
    while not trial.done and stop.signal is None:
        report = {**trial.report(), "cause": "", "done": trial.done}
        with _writing():
            store_report(opened.study, stored._trial_id, report)
            kept.report(stored.number, report["steps"], report["seconds"], report.get("reported", 0.0))
            at = kept.progress(time.time())
            line = describe(opened.study.trials[stored.number], opened.spec)
            print(line + (f"   {pace(at)}" if at else ""), flush=True)
    return report


def _end(opened: OpenRun, number: int, report: dict[str, Any]) -> None:
    with _writing():
        finish(opened, number, report)
        if report["cause"]:
            print(describe(opened.study.trials[number], opened.spec), flush=True)


class _LostStudyError(Exception):
    """The study cannot be written any more."""


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # each storage has errors of its own
        raise _LostStudyError(f"the study cannot be written: {reason(error)}") from error
