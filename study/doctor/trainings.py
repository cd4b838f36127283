"""The study against the folder: each trial has its folder, and in it its own checkpoints, whole."""

from __future__ import annotations

import functools
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from optuna.trial import FrozenTrial, TrialState

from study.doctor.case import ORPHAN, Case, Fault, beside, unreadable
from study.record import trials
from study.record.trials import reports
from study.spec import StudySpec
from study.spec.measures import current
from study.trial import checkpoint
from study.trial.checkpoint import BEST, LAST, PREVIOUS, CheckpointError
from study.trial.files import write_whole
from study.trial.seeds import derived_seed


def orphans(case: Case) -> list[Fault]:
    """Folders of trials that the study does not know; a new trial of that number must not find them."""
    if case.study is None or case.held or case.doubted:
        return []
    known = {trial.number for trial in case.trials}
    return [
        _put_aside(path, "has no trial in the study")
        for path in sorted(case.run.path.glob("trials/*"))
        if re.fullmatch(r"[0-9]{5,}", path.name) and int(path.name) not in known
    ]


def put_aside(case: Case) -> list[Fault]:
    """Folders that were put aside although they are their trials': the study that knows them is back."""
    spec = case.sure
    if spec is None or case.held:
        return []
    trials, faults = {trial.number: trial for trial in case.trials}, []
    for path in sorted(case.run.path.glob(f"trials/*{ORPHAN}*")):
        trial = trials.get(int(number)) if (number := path.name.partition(".")[0]).isdigit() else None
        if trial is None or case.run.trial(trial.number).exists():
            continue
        kept = [_kept(path / name, spec.objectives[0]) for name in (LAST, PREVIOUS, BEST)]
        sound = [one for one in kept if isinstance(one, Kept)]
        if sound and all(_is_own(spec, trial, one) for one in sound):
            back = case.run.trial(trial.number)
            line = f"{path} is the folder of trial {trial.number}, which lacks one; --fix renames it to {back.name}"
            faults.append(Fault(line, functools.partial(os.rename, path, back)))
    return faults


def folders(case: Case) -> list[Fault]:
    """The folders of finished trials."""
    gone = [
        trial
        for trial in case.trials
        if trial.state.is_finished() and reports(trial) and not case.run.trial(trial.number).is_dir()
    ]
    if not gone or case.study is None:
        return []
    numbers = ", ".join(str(trial.number) for trial in gone)
    lost = "checkpoints, snapshots and TensorBoard are lost, the study keeps the reports"
    faults = [Fault(f"the folders of finished trials are gone: {numbers}; their {lost}")]
    best = trials.best_trial(case.study)
    if best is not None and best in gone:
        faults.append(Fault(f"the best trial, {best.number}, is among them: export and its pictures are not possible"))
    return faults


def checkpoints(case: Case) -> list[Fault]:
    """The checkpoints of each trial: whole, the trial's own, and no further than its reports."""
    spec = case.sure
    if spec is None:
        return []
    faults = []
    for trial in case.trials:
        if case.run.trial(trial.number).is_dir() and not (case.held and not trial.state.is_finished()):
            try:
                faults += _checkpoint_faults(spec, trial, case.run.trial(trial.number))
            except PermissionError as error:
                faults.append(unreadable(error))
    return faults


class Kept(NamedTuple):
    """What a sound checkpoint says."""

    settings: dict[str, Any]
    seed: int | None
    steps: int
    value: float  # of the first objective


def _kept(path: Path, objective: str) -> Kept | str | None:
    """What a checkpoint holds, or how it is damaged; None where there is none."""
    try:
        state = checkpoint.without_tensors(path)
        if state is None:
            return None
        report = current(state["report"])
        return Kept(state["settings"], state.get("seed"), report["steps"], report[objective])
    except CheckpointError as error:
        return str(error)
    except (KeyError, TypeError, AttributeError):
        return f"{path} is not the checkpoint of a trial"


def _checkpoint_faults(spec: StudySpec, trial: FrozenTrial, folder: Path) -> list[Fault]:
    found = {name: _kept(folder / name, spec.objectives[0]) for name in (LAST, PREVIOUS, BEST)}
    sound = {name: kept for name, kept in found.items() if isinstance(kept, Kept)}
    complete, running = trial.state == TrialState.COMPLETE, trial.state == TrialState.RUNNING
    if others := [name for name, kept in sound.items() if not _is_own(spec, trial, kept)]:
        what = f"holds checkpoints of another trial ({', '.join(others)})"
        if running:
            return [_put_aside(folder, what)]
        return [Fault(f"{folder} {what}; bring the trial's own back, what was exported of it is not its own")]
    made = reports(trial)
    reach = min(max(made, default=0) + spec.report_every, spec.steps)  # the driver dies before it stores a report
    ahead = [name for name in (LAST, PREVIOUS) if name in sound and sound[name].steps > reach]
    if running and ahead:
        line = f"{folder / ahead[0]} is ahead of the study, which lacks the reports up to step {sound[ahead[0]].steps}"
        remedy = f"--fix removes {' and '.join(ahead)}, and the trial does those steps again"
        return [Fault(f"{line}; {remedy}", functools.partial(_remove, [folder / name for name in ahead]))]
    faults = []
    for name, kept in found.items():
        if isinstance(kept, Kept) or (kept is None and not (complete and _needed(name, sound))):
            continue
        path, twin = folder / name, _twin(spec, made, name, sound) if complete else None
        what = kept if kept is not None else f"{path} is gone"
        if twin is not None:
            faults.append(Fault(f"{what}; --fix copies {twin}, which is the same", _copying(folder / twin, path)))
        elif kept is None or (complete and (name == BEST or not sound)):
            lost = (
                "export and pictures of this trial are not possible" if name == BEST else "nothing else can replace it"
            )
            faults.append(Fault(f"{what}; {lost}"))
        else:
            then = f", and the trial goes on from {_next(sound)}" if running else ""
            faults.append(Fault(f"{what}; --fix removes it{then}", path.unlink))
    return faults


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink()


def _next(sound: dict[str, Kept]) -> str:
    return next((name for name in (LAST, PREVIOUS) if name in sound), "the start")


def _is_own(spec: StudySpec, trial: FrozenTrial, kept: Kept) -> bool:
    expected = spec.settings_of(trial.params)
    seed = derived_seed(spec.seed, trial.number)
    return kept.seed in (None, seed) and checkpoint.same(kept.settings, expected)


def _needed(name: str, sound: dict[str, Kept]) -> bool:
    """Whether a complete trial must have a checkpoint of that name; its last state may be the one before."""
    return name == BEST or (name == LAST and PREVIOUS not in sound)


def _twin(spec: StudySpec, made: dict[int, dict[str, Any]], name: str, sound: dict[str, Kept]) -> str | None:
    """Another checkpoint of a complete trial that was written with the same state."""
    if name == BEST:
        values = [report.get(spec.objectives[0]) for report in made.values()]
        best = max((value for value in values if value is not None), default=None)
        return next((other for other, kept in sound.items() if kept.value == best), None)
    if name == LAST:
        return next((other for other, kept in sound.items() if kept.steps == spec.steps), None)
    return None


def _put_aside(folder: Path, what: str) -> Fault:
    aside = beside(folder, ORPHAN)
    return Fault(f"{folder} {what}; --fix renames it to {aside.name}", functools.partial(os.rename, folder, aside))


def _copying(source: Path, path: Path) -> Callable[[], None]:
    return lambda: write_whole(path, functools.partial(shutil.copyfile, source))
