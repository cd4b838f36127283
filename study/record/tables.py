"""The Optuna study as pandas tables; parquet files in the run folder are copies of these."""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

import pandas as pd
from optuna.trial import FrozenTrial

from study.record.columns import COLUMNS
from study.record.first import ORIGIN
from study.record.folder import OpenRun, Run, RunError
from study.record.pathologies import EVIDENCE, PATHOLOGY
from study.record.storage import KIND, open_run
from study.record.trials import Outcome, reports
from study.spec import StudySpec
from study.spec.measures import MEASURES, METRICS, PLACE, VERSIONS, column, taken, versions, versions_said
from study.spec.text import command
from study.trial.files import write_whole
from study.trial.seeds import derived_seed


def results(opened: OpenRun) -> pd.DataFrame:
    """One row a trial: what it was, how it ended, its hyperparameters (`params.*`) and last report (`metrics.*`).

    `study.record.columns` says what each column means.
    """
    study = opened.study
    trials = study.get_trials(deepcopy=False)
    names = _taken(trials)
    said = about(opened)
    rows = [{**said, **_row(opened.spec, trial, names)} for trial in trials]
    nothing = [*(name for name in COLUMNS["results"] if "*" not in name), *(f"metrics.{key}" for key in names)]
    return of_one_type(pd.DataFrame(rows, columns=None if rows else nothing))


def about(opened: OpenRun) -> dict[str, str | bool | None]:
    """What a study is, in the columns that all of its trials share."""
    run, spec, study = opened
    return {
        "study": spec.name,
        "model": spec.title,
        "dataset": spec.data,
        "preprocessing": spec.pixels,
        "likelihood": spec.likelihood,
        "kind": study.user_attrs.get(KIND),
        "precision": spec.precision,
        "deterministic": spec.deterministic,
        "compiled": spec.compiled,
        "objective": spec.objectives[0],
        "objectives": ", ".join(spec.objectives),
        "commit": run.made_with().get("commit"),
    }


def _taken(trials: Iterable[FrozenTrial]) -> list[str]:
    """The measures that any report of these trials holds; before the first report, those that all models have."""
    return taken(report for trial in trials for report in reports(trial).values()) or list(METRICS)


def _row(spec: StudySpec, trial: FrozenTrial, names: list[str]) -> dict:
    made = reports(trial)
    steps = max(made, default=0)
    last = made.get(steps, {})
    settings = spec.settings_of(trial.params)
    return {
        "number": trial.number,
        "state": trial.state.name,
        "cause": trial.user_attrs.get("cause", ""),
        **{key: trial.user_attrs.get(key, "") for key in (PATHOLOGY, EVIDENCE)},
        "steps": steps,
        "budget": spec.steps,
        "seconds": last.get("seconds"),
        "cpu_seconds": _float(last.get("cpu_seconds")),
        "started": _time(trial.datetime_start),
        "ended": _time(trial.datetime_complete),
        "seed": derived_seed(spec.seed, trial.number),
        "origin": trial.user_attrs.get(ORIGIN, ""),
        "drawn": ", ".join(trial.params),
        **{f"params.{key}": cell(value) for key, value in settings.items()},
        **{f"metrics.{key}": last.get(key) for key in names},
    }


def _float(value: float | None) -> float:
    """A number that older reports do not have; the column is one of numbers even where none has it."""
    return math.nan if value is None else value


def _time(value: datetime | None) -> pd.Timestamp:
    """To the second, which makes one type of a column where some have no time."""
    return pd.NaT if value is None else pd.Timestamp(value).floor("s").as_unit("ms")


def cell(value: object) -> object:
    """A hyperparameter in a table: what is no single value as JSON."""
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value


def of_one_type(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose columns have one type each: one that holds text and numbers, as 32 and [32, 32], is all text."""
    for name in (name for name in frame if frame[name].dtype.kind == "O"):
        given = frame[name][frame[name].notna()]
        if len({_kind(value) for value in given}) > 1:
            frame = frame.assign(**{name: frame[name].map(as_text, na_action="ignore")})
    return frame


def _kind(value: object) -> type:
    return next((kind for kind in (str, bool) if isinstance(value, kind)), float)


def as_text(value: object) -> str:
    """A value as it stands in a column of text: JSON, and text as it is."""
    return value if isinstance(value, str) else json.dumps(value)


def curves(opened: OpenRun) -> pd.DataFrame:
    """One row a report: trial, steps, times and the validation measures."""
    trials = opened.study.get_trials(deepcopy=False)
    names = _taken(trials)
    rows = [
        {
            "number": trial.number,
            "steps": steps,
            "seconds": report.get("seconds"),
            "cpu_seconds": _float(report.get("cpu_seconds")),
            "reported": _time(datetime.fromtimestamp(made) if (made := report.get("reported")) else None),
            PLACE: _float(report.get(PLACE)),
            **{key: report.get(key) for key in names},
        }
        for trial in trials
        for steps, report in reports(trial).items()
    ]
    return pd.DataFrame(rows, columns=[*(name for name in COLUMNS["curves"] if "*" not in name), *names])


def train(opened: OpenRun) -> pd.DataFrame:
    """One row a logged step: trial, step and the training losses by name, in nats an image."""
    rows = [
        {"number": trial.number, "step": step, **{f"loss_{name}": value for name, value in losses.items()}}
        for trial in opened.study.get_trials(deepcopy=False)
        for report in reports(trial).values()
        for step, losses in report["train"]
    ]
    return pd.DataFrame(rows, columns=None if rows else ["number", "step"])


TABLES: dict[str, Callable[[OpenRun], pd.DataFrame]] = {
    "results": results,
    "curves": curves,
    "train": train,
}


NEEDED = {
    "results": {"number", "state", "cause", "steps", "seconds"},
    "curves": {"number", "steps"},
    "train": {"number", "step"},
    "confirm": {"study", "configuration", "cause", "samples", "images", "metrics.elbo"},
}
"""Without these columns a file is not that table, whichever release wrote it."""


def make(run: Run, name: str) -> pd.DataFrame:
    """One table of a run, from its storage."""
    return TABLES[name](open_run(run))


def write(run: Run) -> None:
    """Writes all tables of a run from its storage."""
    opened = open_run(run)
    read = _changed(run)
    for name, table in TABLES.items():
        write_whole(run.table(name), functools.partial(_to_parquet, table(opened), read))


def _to_parquet(frame: pd.DataFrame, read: int, path: Path) -> None:
    to_parquet(frame, path)
    if read:  # the study may have gone on since: a table is as old as what it was made of
        os.utime(path, ns=(read, read))


def to_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Writes a table, with the versions of its measures."""
    frame.attrs[VERSIONS] = versions(measure.name for measure in MEASURES)
    frame.to_parquet(path, index=False)


def read_parquet(path: Path) -> pd.DataFrame:
    """A table with today's names, whichever release wrote it."""
    frame = pd.read_parquet(path)
    said = versions_said(frame.attrs)
    frame.attrs = {}

    def todays(name: str) -> str:
        measure = name.removeprefix("metrics.")
        return name.removesuffix(measure) + column(measure, said.get(measure, 1))

    return frame.rename(columns=todays)


def _changed(run: Run) -> int:
    """When the study in the run folder was last written, in nanoseconds; 0 for one that is stored elsewhere."""
    return max((file.stat().st_mtime_ns for file in (run.database, run.journal) if file.is_file()), default=0)


def read(run: Run, name: str) -> pd.DataFrame | None:
    """A table's file; None where there is none, or something else is in its place."""
    try:
        frame = read_parquet(run.table(name))
    except Exception:  # a damaged file can raise nearly anything
        return None
    return frame if NEEDED[name] <= {*frame.columns} else None


def confirmed(run: Run) -> pd.DataFrame:
    """confirm.parquet; without rows where there is none.

    Raises:
        RunError: something else is in its place.
    """
    path, found = run.table("confirm"), read(run, "confirm")
    if found is None and path.exists():
        fix = f"`{command('doctor', run.argument, '--fix')}` takes it away"
        raise RunError(f"{path} cannot be read; {fix}, and `confirm` makes it again from its results")
    return pd.DataFrame() if found is None else found


def end(run: Run, outcome: Outcome) -> Outcome:
    """Writes the tables at the end of a search; where there is no room for them, the outcome says so."""
    try:
        write(run)
    except OSError as error:
        lost = f"the tables of {run.path} cannot be written ({error.strerror or error}); the study has what they say"
        return outcome._replace(halted=outcome.halted or lost)
    return outcome


def fresh(run: Run, name: str) -> bool:
    """Whether a table's file is at least as new as the study; never known of a study that is stored elsewhere."""
    table, changed = run.table(name), _changed(run)
    return bool(changed) and table.is_file() and table.stat().st_mtime_ns >= changed
