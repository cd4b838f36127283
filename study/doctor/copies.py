"""What was made from the study and from trainings: tables, and the results of confirmation."""

from __future__ import annotations

import functools
from pathlib import Path

from study.doctor.case import Case, Fault
from study.record import storage, tables
from study.record.confirmation import RESULT
from study.record.confirmation import read as result_in
from study.record.folder import Run


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
        if path.is_file() and _is_damaged(path)
    ]


def _is_damaged(path: Path) -> bool:
    path.read_bytes()  # what may not be read may be sound
    return result_in(path) is None
