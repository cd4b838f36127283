"""Rows of a benchmark that are kept in a CSV file, so that what was trained is not trained again."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


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
