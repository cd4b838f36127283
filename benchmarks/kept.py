"""Rows of a benchmark that are kept in a CSV file, so that what was trained is not trained again."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

J = TypeVar("J", bound=NamedTuple)


def rows(table: Path) -> list[dict[str, str]]:
    """The rows that are there; none where there is no file."""
    if not table.is_file():
        return []
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def record(table: Path, columns: Sequence[str], row: Mapping[str, Any]) -> None:
    """Adds a row, of which only the table's columns are kept."""
    new = not table.is_file()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow(row)


def missing(table: Path, jobs: Sequence[J]) -> list[J]:
    """The jobs that no row is of; a job's fields are columns of the table."""
    found = rows(table)
    done = {tuple(row[key] for key in jobs[0]._fields) for row in found} if jobs else set()
    return [job for job in jobs if tuple(map(str, job)) not in done]
