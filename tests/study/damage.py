"""Runs to damage: how they are made, damaged as disks and deaths do it, and compared."""

import ctypes
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from here import all_done

import imagesets
from study import confirm
from study.agenda import Agenda
from study.export import export
from study.record import tables
from study.record.folder import Run
from study.record.storage import describe_data, open_run
from study.record.trials import fail, finish, store_report
from study.spec import StudySpec
from study.trial.seeds import derived_seed
from study.trial.trial import Trial

BUDGET = {"steps": 60, "report_every": 10, "batch": 8}
ASHA = {"grace": 20, "reduction": 2}
RATES = (1e-2, 1e-4, 1e-3, 1e-3)
CONFIRM = {"top": 1, "seeds": 1, "samples": 2, "images": 10}
CAPABILITIES, DAC_OVERRIDE, DAC_READ_SEARCH = 0x20080522, 1, 2


def build(raw: Callable, folder: Path, **changes) -> Run:
    """A run of four trials, trained here: 0 COMPLETE and best, 1 PRUNED at 20, 2 FAIL, 3 RUNNING after 30 steps."""
    spec = StudySpec(**raw(trials=4, budget=BUDGET, asha=ASHA, **changes))
    run, splits = Run(folder / "runs" / "tiny"), imagesets.load(spec.dataset)
    run.create(spec)
    opened = open_run(run, spec, create=True)
    study = opened.study
    describe_data(opened, splits)
    for number, (rate, until) in enumerate(zip(RATES, (60, 20, 10, 30))):
        study.enqueue_trial({"lr": rate})
        asked = study.ask()
        trial = Trial(
            spec, spec.draw(asked), splits, seed=derived_seed(spec.seed, number), folder=run.trial(asked.number)
        )
        while trial.training.step < until:
            report = {**trial.report(), "cause": ""}
            store_report(study, asked._trial_id, {**report, "done": number == 1 and report["steps"] == until})
        trial.close()
        if number < 2:
            finish(opened, number, report)
    fail(opened, 2, "lost: the worker's process ended")
    tables.write(run)
    return run


def complete(run: Run) -> None:
    """Takes such a run to its end, without Ray: trial 3 COMPLETE too, the search confirmed, the best model in best/."""
    opened, splits = open_run(run), imagesets.load(run.spec().dataset)
    _, spec, study = opened
    stored = study.trials[3]
    seed = derived_seed(spec.seed, 3)
    trial = Trial(spec, spec.settings_of(stored.params), splits, seed=seed, folder=run.trial(3))
    while not trial.done:
        report = {**trial.report(), "cause": ""}
        store_report(study, stored._trial_id, report)
    trial.close()
    finish(opened, 3, report)
    tables.write(run)
    all_done(Agenda(run, spec, confirm.jobs(opened)))
    confirm.confirm(run)
    export(run, run.path / "best")


@contextmanager
def without_roots_privilege() -> Iterator[None]:
    """For root no file is read-only, until it lays this privilege down; for others nothing changes."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    effective = sets[0]
    sets[0] &= ~(1 << DAC_OVERRIDE | 1 << DAC_READ_SEARCH)
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = effective
        assert libc.capset(header, sets) == 0


def digests(folder: Path) -> dict[str, str]:
    """Every path below a folder, and what is in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


def damage(path: Path, how: str) -> None:
    """Truncates a file to its half, empties it, or makes a directory of it; "forbidden" is left to the caller."""
    if how == "made a directory":
        path.unlink()
        path.mkdir()
    elif how != "forbidden":
        os.truncate(path, path.stat().st_size // 2 if how == "truncated" else 0)


def spoil(path: Path) -> None:
    """Turns over some bytes in the middle of a file, as a bad disk does."""
    content, middle = path.read_bytes(), path.stat().st_size // 2
    turned = bytes(byte ^ 0xFF for byte in content[middle : middle + 256])
    path.write_bytes(content[:middle] + turned + content[middle + 256 :])


def study_of(run: Run) -> optuna.Study:
    return open_run(run).study


def sql(run: Run, statement: str, *values) -> None:
    """Changes the database as no part of the platform does."""
    with sqlite3.connect(run.database) as connection:
        connection.execute(statement, values)
    connection.close()


SOUND = "tiny is sound: 1 complete, 1 pruned, 1 failed, 1 unfinished (resume goes on with them), of 4 trials"
