"""Holds a run folder and its study against each other, and repairs what can honestly be repaired.

Nothing is ever invented: a repair removes what no program would use, copies what is there twice, or makes again what
the study or the checkpoints say. A check is a function from a case to the faults that it finds.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from study.record import backend, storage, tables, trials
from study.record.confirmation import RESULT, standing
from study.record.confirmation import read as result_in
from study.record.extension import differences
from study.record.folder import OpenRun, Run, RunError
from study.record.storage import SPACE, SPEC
from study.record.trials import ended, reports, settle
from study.spec import StudySpec, dump, storage_url
from study.spec.measures import current
from study.spec.text import program
from study.trial import checkpoint
from study.trial.checkpoint import BEST, LAST, PREVIOUS, CheckpointError
from study.trial.files import abandoned, is_alive, write_whole
from study.trial.training import derived_seed

ORPHAN, DAMAGED = ".orphan", ".damaged"  # the ends of names of what is put aside
# of `write_whole`, and SQLite's own beside it
TEMPORARY = re.compile(r"\..+\.(?:yaml|json|db|journal|pt|parquet|npz|png)\.([0-9]{1,9})(?:-journal)?")


OF_A_RUN = {"study.yaml", "environment.json"}
OF_AN_EXPORT = {"model.safetensors", "config.json", "model.py", "metrics.json", "README.md"}


class Fault(NamedTuple):
    """What is wrong and what is done about it, in a line; `fix` does it, where that is possible."""

    line: str
    fix: Callable[[], Any] | None = None


class Case(NamedTuple):
    """A run as the checks see it."""

    run: Run
    held: bool  # by another process, which works on it: what is on its way is no fault
    spec: StudySpec | None  # None: study.yaml is missing or damaged
    study: optuna.Study | None  # None: there is none, or it cannot be opened
    trials: list[FrozenTrial]
    closed: str  # why the study cannot be opened

    @property
    def sure(self) -> StudySpec | None:
        """The specification to judge trials by; None where study.yaml is not what the study was made with."""
        if self.study is None or self.spec is None or storage.space_differences(self.study, self.spec):
            return None
        made_with = storage.made_with(self.study)
        return None if made_with is not None and differences(made_with, self.spec) else self.spec

    @property
    def doubted(self) -> bool:
        """Whether the study is not the one of study.yaml: from such a one nothing is repaired."""
        return self.study is not None and self.spec is not None and self.sure is None


def examine(run: Run, fix: bool = False, say: Callable[[str], None] = print) -> bool:
    """Checks a run, and repairs it.

    Args:
        run: its folder, of which anything may be missing.
        fix: repair what can be repaired; else nothing is written.
        say: is given a line for each fault.

    Returns:
        Whether the run is sound now.

    Raises:
        RunError: it is to be repaired, and another process holds it, or it cannot be written.
    """

    def tell(line: str) -> None:
        say(line.replace(f"{run.path}/", ""))

    with run.locked() if fix else nullcontext():
        held = not fix and run.is_held()
        tried: set[str] = set()
        failed: set[str] = set()
        while True:  # a repair can bring to light what was hidden
            case = look(run, held)
            faults = [fault for check in CHECKS for fault in _found(check, case)]
            now = [(fault, fault.fix) for fault in faults if fix and fault.fix and fault.line not in tried]
            if not now:
                break
            for fault, mend in now:
                tried.add(fault.line)
                try:
                    mend()
                    tell(f"mended: {fault.line}")
                except (OSError, RunError) as error:
                    failed.add(fault.line)
                    tell(f"cannot be mended ({error}): {fault.line}")
    for fault in faults:
        if fault.line not in failed:
            tell(fault.line)
    if not faults:
        tell(f"{run.name} is sound: {_standing(case)}")
    elif can := sum(fault.fix is not None for fault in faults) if not fix else 0:
        tell(f"{can} of {len(faults)} can be mended: {program()} doctor {run.argument} --fix")
    return not faults


def _found(check: Callable[[Case], list[Fault]], case: Case) -> list[Fault]:
    """What a check finds; of a file that may not be read, that."""
    try:
        return check(case)
    except OSError as error:
        return [_unreadable(error)]


def _unreadable(error: OSError) -> Fault:
    return Fault(f"{error.filename} cannot be read ({error.strerror}); give yourself the permission, and ask again")


def _standing(case: Case) -> str:
    if case.study is None or case.spec is None:
        go_on = case.run.goes_on(case.spec) if case.spec else f"{program()} resume {case.run.argument}"
        return f"it has no study yet; go on with: {go_on}"
    if not case.spec.trials:
        return standing(case.run, case.spec)
    states = [trial.state for trial in case.trials]
    counts = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    told = [f"{states.count(state)} {word}" for word, state in counts.items()]
    unfinished = states.count(TrialState.RUNNING)
    goes_on = " (a driver works on them)" if case.held else " (resume goes on with them)"
    return f"{', '.join(told)}, {unfinished} unfinished{goes_on if unfinished else ''}, of {case.spec.trials} trials"


def look(run: Run, held: bool) -> Case:
    """Reads a run's specification and its study, as far as they can be read."""
    try:
        spec = run.spec()
    except RunError:
        spec = None
    try:
        study = _study(run, spec)
        trials = study.get_trials(deepcopy=False) if study else []
    except Exception as error:  # a damaged file can raise nearly anything
        return Case(run, held, spec, None, [], backend.reason(error))
    return Case(run, held, spec, study, trials, "")


def _study(run: Run, spec: StudySpec | None) -> optuna.Study | None:
    """The study of the run; without a specification, the one in the run folder. None if there is none, as yet."""
    files = [storage.file_of(run, spec)] if spec else [run.database, run.journal]
    file = next((file for file in files if file is None or file.is_file()), run.database)
    if file is None:
        assert spec is not None
        assert spec.storage is not None
        store: optuna.storages.BaseStorage = backend.server(spec.storage)
    elif not file.is_file():
        return None
    elif file == run.journal:
        store = backend.journal(file)
    else:
        _check_database(file)
        store = backend.sqlite(file)
    names = [study.study_name for study in store.get_all_studies()]
    name = spec.name if spec else run.name if run.name in names else names[0] if len(names) == 1 else None
    if name not in names and file is None and not any(run.path.glob("trials/*")):
        return None
    if name not in names:
        raise RunError(f"it holds no study {name or run.name!r}, but {', '.join(names) or 'none'}")
    return optuna.load_study(study_name=name, storage=store)


def _check_database(file: Path) -> None:
    """Raises for a damaged database, and for one that is not Optuna's, which Optuna would write its tables into."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=30)) as connection:
        ((found, *_), *_) = connection.execute("PRAGMA integrity_check")
    if found != "ok":
        raise RunError(found)
    backend.check_tables(file)


# The run folder by itself.


def directories(case: Case) -> list[Fault]:
    """Directories that stand where a file belongs, which nothing can be written over."""
    run = case.run
    names = [run.study_yaml, run.environment, run.database, run.journal, *map(run.table, (*tables.TABLES, "confirm"))]
    kept = [path for name in (LAST, PREVIOUS, BEST, RESULT) for path in run.path.glob(f"*/*/{name}")]
    return [
        Fault(f"{path} is a directory; --fix renames it to {aside.name}", functools.partial(os.rename, path, aside))
        for path in (*names, *sorted(kept))
        if path.is_dir()
        for aside in [_aside(path, DAMAGED)]
    ]


def specification(case: Case) -> list[Fault]:
    """study.yaml, which the study holds a copy of."""
    run = case.run
    if case.spec is not None:
        return []
    what = "study.yaml is missing"
    if run.study_yaml.is_file():
        try:
            run.spec()
        except RunError as error:
            what = f"study.yaml is damaged ({str(error).splitlines()[0].rpartition('any more: ')[2]})"
    copy = case.study.user_attrs.get(SPEC) if case.study else None
    if copy is None:
        return [Fault(f"{what}, and no study lies in the folder that could say what it was; bring it from a backup")]

    def make_again() -> None:
        if run.study_yaml.is_file():
            os.replace(run.study_yaml, _aside(run.study_yaml, DAMAGED))
        write_whole(run.study_yaml, lambda path: path.write_text(copy, encoding="utf-8"))

    return [Fault(f"{what}; --fix makes it again from the study", make_again)]


def environment(case: Case) -> list[Fault]:
    """environment.json, which nothing else says; tables take the commit from it."""
    file = case.run.environment
    if file.is_dir() or case.run.made_with():
        return []
    damaged = file.is_file()
    if damaged:
        file.read_bytes()  # what may not be read may be sound

    def note_the_loss() -> None:
        if damaged:
            os.replace(file, _aside(file, DAMAGED))
        write_whole(file, lambda path: path.write_text(json.dumps({"commit": None, "lost": True}) + "\n"))

    what = "damaged" if damaged else "missing"
    lost = "the versions and the commit of the run are not known any more"
    return [Fault(f"{file.name} is {what}: {lost}; --fix notes that", note_the_loss)]


def leftovers(case: Case) -> list[Fault]:
    """Files that a process which is gone was writing, and the folders of runs and exports that it was making."""
    if case.held:  # its workers may be on another machine
        return []
    run = case.run
    files = [
        path
        for path in _files(run.path, besides=run.ray)
        if (match := TEMPORARY.fullmatch(path.name)) and not is_alive(int(match[1]))
    ]
    exports = {path.with_name(path.name[1:].rpartition(".")[0]) for path in run.path.glob(".?*.[0-9]*")}
    half = [path for whole in (run.path, *sorted(exports)) for path in abandoned(whole) if _is_half_made(path)]
    what = "was being written by a process that is gone; --fix removes it"
    return [
        *(Fault(f"{path} {what}", path.unlink) for path in files),
        *(Fault(f"{path} {what}", functools.partial(shutil.rmtree, path)) for path in half),
    ]


def _is_half_made(folder: Path) -> bool:
    """Whether a folder holds nothing that `run` or `export` did not write."""
    return {path.name for path in folder.iterdir()} <= OF_A_RUN | OF_AN_EXPORT


def journal(case: Case) -> list[Fault]:
    """What the death of its writer leaves in a journal."""
    file = case.run.journal
    if case.held or not file.is_file():
        return []
    lock = file.with_name(f"{file.name}.lock")
    found = [f"{lock.name} was left by a process that is gone"] if lock.is_symlink() else []
    with open(file, "rb") as lines:
        end = lines.seek(0, os.SEEK_END)
        lines.seek(max(0, end - 1))
        if lines.read() not in (b"\n", b""):
            found.append(f"the last line of {file.name} is unfinished")
    return [Fault(f"{what}; --fix removes it", functools.partial(backend.mend_journal, file)) for what in found]


# The study.


def opening(case: Case) -> list[Fault]:
    """Whether the study is there and can be read."""
    run, spec = case.run, case.spec
    file = storage.file_of(run, spec) if spec else next((f for f in (run.database, run.journal) if f.is_file()), None)
    folders = len(list(run.path.glob("trials/*")))
    left = [*(run.table(name).name for name in tables.TABLES if run.table(name).is_file())]
    remains = ", ".join([*left, *([f"{folders} trials' folders"] if folders else [])]) or "nothing else"
    if case.closed and spec is not None and file is None:
        hint = f"is the server up? A password is not kept in the run: set {storage_url.ENVIRONMENT} to the whole URL"
        return [Fault(f"the study in {spec.storage} cannot be opened ({case.closed}); {hint}")]
    if case.closed:
        how = "only a backup brings it back; nothing writes over it, and there are still"
        return [Fault(f"{file.name if file else 'the study'} cannot be opened ({case.closed}); {how} {remains}")]
    if case.study is None and folders:
        name = file.name if file else run.database.name
        return [Fault(f"{name} is gone; only a backup brings it back, and there are still {remains}")]
    return []


def attributes(case: Case) -> list[Fault]:
    """What the study says of itself, against study.yaml."""
    study, spec = case.study, case.spec
    if study is None or spec is None:
        return []
    lacking = [*(["metric names"] if study.metric_names is None else [])]
    lacking += [name for name in (SPACE, SPEC) if name not in study.user_attrs]
    if lacking and case.held:
        return []
    if lacking:
        line = f"the study lacks its {', '.join(lacking)}: its maker died; --fix writes what study.yaml says"
        return [Fault(line, functools.partial(storage.make, study._storage, spec))]
    faults = []
    if changed := storage.space_differences(study, spec):
        faults.append(Fault(f"the study was {storage.otherwise(spec)}: {'; '.join(changed)}; bring the old one back"))
    made_with = storage.made_with(study)
    if made_with is not None and (changed := differences(made_with, spec)):
        line = f"study.yaml is not what the study was made with: {'; '.join(changed)}; bring the old value back"
        faults.append(Fault(line))
    elif made_with != spec and not case.held:
        line = "the study's copy of study.yaml is an older one; --fix renews it"
        faults.append(Fault(line, lambda: study.set_user_attr(SPEC, dump(spec))))
    return faults


def unfinished(case: Case) -> list[Fault]:
    """Trials whose end was stored and not told."""
    study, spec = case.study, case.sure
    if study is None or spec is None or case.held:
        return []
    return [
        Fault(
            f"trial {trial.number} is RUNNING although its end was reported; --fix tells it",
            functools.partial(settle, OpenRun(case.run, spec, study)),
        )
        for trial in case.trials
        if trial.state == TrialState.RUNNING and ended(reports(trial), spec)
    ]


def ends(case: Case) -> list[Fault]:
    """Whether finished trials are what their states say; what was told cannot be told again, so nothing is repaired."""
    spec = case.sure
    if spec is None:
        return []
    finished = [trial for trial in case.trials if trial.state.is_finished()]
    faults = [Fault(f"trial {trial.number} {what}") for trial in finished for what in _wrong_end(spec, trial)]
    if len(finished) > spec.trials:
        faults.append(Fault(f"{len(finished)} trials are finished, and study.yaml asks for {spec.trials} only"))
    return faults


def _wrong_end(spec: StudySpec, trial: FrozenTrial) -> Iterator[str]:
    made, state = reports(trial), trial.state
    last = max(made, default=0)
    due = {*range(spec.report_every, last + 1, spec.report_every), *([last] if last == spec.steps else [])}
    if missing := sorted(due - made.keys()):
        yield f"has no report at steps {', '.join(map(str, missing))}"
    if strange := sorted(made.keys() - due):
        yield f"has reports at steps {', '.join(map(str, strange))}, where none is due"
    if state == TrialState.FAIL and not trial.user_attrs.get("cause"):
        yield "is FAIL without a cause"
    if state == TrialState.PRUNED and last not in spec.rungs:
        yield f"is PRUNED at step {last}, which is no rung; rungs: {', '.join(map(str, spec.rungs)) or 'none'}"
    end = ended(made, spec)
    if state == TrialState.COMPLETE and last != spec.steps:
        yield f"is COMPLETE without a report at step {spec.steps}; its last is at step {last}"
    elif state == TrialState.COMPLETE and end is not None and trial.values != end.values:
        yield f"has the values {trial.values}, and its last report says {end.values or end.cause}"
    if len(spec.objectives) == 1:
        given = {step: report.get(spec.objectives[0]) for step, report in made.items()}
        reported = {step: value for step, value in given.items() if value is not None}
        stored = {step: value for step, value in trial.intermediate_values.items() if not math.isnan(value)}
        if differing := sorted(s for s in reported.keys() | stored.keys() if reported.get(s) != stored.get(s)):
            yield f"has other intermediate values than its reports say, at steps {', '.join(map(str, differing))}"


# The study against the folder.


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
                faults.append(_unreadable(error))
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
        state = checkpoint.load(path)
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


# What was made from the study.


def copies(case: Case) -> list[Fault]:
    """The tables, which are made from the study."""
    run, faults = case.run, []
    if case.study is not None and case.spec is not None and case.trials and not (case.held or case.doubted):
        local = storage.file_of(run, case.spec) is not None
        states = {name: _table_fault(run, name, local) for name in tables.TABLES}
        if wrong := [f"{run.table(name).name} {what}" for name, what in states.items() if what]:
            line = f"{', '.join(wrong)}; --fix makes the tables again"
            faults.append(Fault(line, functools.partial(tables.write, run)))
    confirmed = run.table("confirm")
    if confirmed.is_file() and not _is_table(run, "confirm"):
        line = f"{confirmed.name} cannot be read; --fix removes it, `confirm` makes it again from its results"
        faults.append(Fault(line, confirmed.unlink))
    return faults


def _table_fault(run: Run, name: str, local: bool) -> str:
    path = run.table(name)
    if not path.is_file():
        return "is missing"
    if not _is_table(run, name):
        return "cannot be read"
    return "is older than the study" if local and not tables.fresh(run, name) else ""


def _is_table(run: Run, name: str) -> bool:
    return tables.read(run, name) is not None


def confirmations(case: Case) -> list[Fault]:
    """The results of confirmation."""
    return [
        Fault(f"{path} is damaged; --fix removes it, and `confirm` does it again", path.unlink)
        for path in sorted(case.run.path.glob(f"confirm/*/{RESULT}"))
        if path.is_file() and path.read_bytes() is not None and result_in(path) is None  # may not be read: may be sound
    ]


CHECKS: tuple[Callable[[Case], list[Fault]], ...] = (
    directories,
    specification,
    environment,
    leftovers,
    journal,
    opening,
    attributes,
    unfinished,
    ends,
    orphans,
    put_aside,
    folders,
    checkpoints,
    confirmations,
    copies,
)


# Helpers.


def _files(folder: Path, besides: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            if path != besides:
                yield from _files(path, besides)
        else:
            yield path


def _aside(path: Path, end: str) -> Path:
    """A name beside a path's own that is free."""
    names = (path.with_name(f"{path.name}{end}{i or ''}") for i in range(1000))
    return next(name for name in names if not name.exists())


def _put_aside(folder: Path, what: str) -> Fault:
    aside = _aside(folder, ORPHAN)
    return Fault(f"{folder} {what}; --fix renames it to {aside.name}", functools.partial(os.rename, folder, aside))


def _copying(source: Path, path: Path) -> Callable[[], None]:
    return lambda: write_whole(path, functools.partial(shutil.copyfile, source))
