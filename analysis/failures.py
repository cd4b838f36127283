"""What failed in a study, trials and trainings for confirmation, by cause; and what trials came to without failing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from analysis import tables
from study.output import without_places

MOST_NUMBERS = 10  # of trials that failed alike
TRACEBACKS = 3  # of each cause


class Failure(NamedTuple):
    """What failed for one reason."""

    kind: str  # nan, oom, crash, lost, ...
    times: int
    which: str
    said: str  # by the first of them
    tracebacks: list[str]


class _One(NamedTuple):
    which: str
    cause: str
    number: int | None  # of a trial

    @property
    def kind(self) -> str:
        return self.cause.partition(":")[0]


def failures(trials: pd.DataFrame, confirmed: pd.DataFrame, tracebacks: Mapping[int, str]) -> list[Failure]:
    """By cause, the most frequent one first.

    Args:
        trials: from `analysis.trials`, of one run.
        confirmed: from `analysis.confirmed`, of the same.
        tracebacks: the ends of those that are known, by the trial's number.
    """
    failed = trials[trials["state"] == "FAIL"]
    found = [_One(f"trial {row.number}", row.cause, row.number) for row in failed.itertuples()]
    if len(confirmed):
        trained = confirmed[confirmed["cause"] != ""]
        found += [_One(f"{row.configuration}, seed {row.repeat + 1}", row.cause, None) for row in trained.itertuples()]
    by_kind: dict[str, list[_One]] = {}
    for one in found:
        by_kind.setdefault(one.kind, []).append(one)
    ordered = sorted(by_kind.items(), key=lambda item: -len(item[1]))
    return [_failure(kind, ones, tracebacks) for kind, ones in ordered]


def pathologies(trials: pd.DataFrame) -> list[Failure]:
    """What trials came to without failing, the most frequent one first.

    Args:
        trials: from `analysis.trials`, of one run.
    """
    by_name: dict[str, list[_One]] = {}
    for row in trials[tables.pathologies(trials) != ""].itertuples():
        for said in row.evidence.split("; "):
            by_name.setdefault(said.partition(":")[0], []).append(_One(f"trial {row.number}", said, row.number))
    ordered = sorted(by_name.items(), key=lambda item: -len(item[1]))
    return [_failure(name, ones, {}) for name, ones in ordered]


def _failure(kind: str, ones: list[_One], tracebacks: Mapping[int, str]) -> Failure:
    named = ", ".join(one.which for one in ones[:MOST_NUMBERS])
    others = len(ones) - MOST_NUMBERS
    more = f" and {others:,} more" if others > 0 else ""
    said = [text for one in ones if one.number is not None and (text := tracebacks.get(one.number))]
    ends = [without_places(text) for text in said[:TRACEBACKS]]
    return Failure(kind, len(ones), f"{named}{more}", without_places(ones[0].cause), ends)
