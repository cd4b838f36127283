"""Tables of one run or several, as pandas frames; each function maps runs to a frame, or a frame to a frame."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pandas as pd

from study.record import folder, tables
from study.spec.measures import MEASURES, in_order

STATES = ("COMPLETE", "PRUNED", "RUNNING", "FAIL", "WAITING")  # the order of a table
CONFIRMED = ("elbo", "log_likelihood", "reconstruction", "kl", "zero_fraction", "active_units", "accuracy")
COMPARABLE = ("dataset", "preprocessing", "likelihood", "kind")  # ELBOs compare where these are equal
HEADLINE = ("elbo", "reconstruction", "kl", "zero_fraction", "active_units")


def trials(*runs: str | Path, root: str | Path = folder.RUNS) -> pd.DataFrame:
    """One row a trial of all these runs: study, state, cause, steps, `params.*` and `metrics.*`.

    Args:
        runs: names of runs, or their folders.
        root: where named runs lie.

    Raises:
        RunError: a run is not there.
    """
    return _read("results", runs, root)


def curves(*runs: str | Path, root: str | Path = folder.RUNS) -> pd.DataFrame:
    """One row a report of all these runs; arguments and errors as for `trials`."""
    return _read("curves", runs, root)


def train(*runs: str | Path, root: str | Path = folder.RUNS) -> pd.DataFrame:
    """One row a logged training step of all these runs; arguments and errors as for `trials`."""
    return _read("train", runs, root)


def confirmed(*runs: str | Path, root: str | Path = folder.RUNS) -> pd.DataFrame:
    """One row a (configuration, seed) of all these runs, on the test set; a run without confirmation adds none.

    Arguments and errors as for `trials`.
    """
    return _joined([tables.confirmed(folder.find(given, root)) for given in runs])


def _own(frame: pd.DataFrame) -> list[str]:
    """The measures of a frame that only its model has."""
    taken = [column.removeprefix("metrics.") for column in frame if column.startswith("metrics.")]
    return [name for name in taken if name not in {measure.name for measure in MEASURES}]


def confirmation(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over seeds of each confirmed configuration, and how many failed.

    Args:
        frame: from `confirmed`, with at least one row.

    Returns:
        One row a (study, configuration): on which data, where that differs; n seeds, failures, and "mean ± deviation"
        of each test metric; of a single seed, its number alone.
    """
    rows = []
    for (study, configuration), group in frame.groupby(["study", "configuration"], sort=False):
        sound = group[group["cause"] == ""]
        spread = {
            metric: _mean_and_deviation(sound[f"metrics.{metric}"])
            for metric in (*CONFIRMED, *_own(frame))
            if f"metrics.{metric}" in sound and sound[f"metrics.{metric}"].notna().any()
        }
        rows.append(
            {
                "study": study,
                "configuration": configuration,
                **group.iloc[0][differing(frame)],
                "seeds": len(sound),
                "failed": len(group) - len(sound),
                **spread,
            }
        )
    return pd.DataFrame(rows)


def _read(name: str, runs: tuple[str | Path, ...], root: str | Path) -> pd.DataFrame:
    frames = []
    for given in runs:
        run = folder.find(given, root)
        frame = _frame(run, name)
        if "study" not in frame:
            frame.insert(0, "study", run.name)
        frames.append(frame)
    return _joined(frames)


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """One table of several; a column is text where it is text in one of them."""
    filled = [frame for frame in frames if len(frame)]  # what is empty has no types to join
    return tables.of_one_type(pd.concat(filled or frames, ignore_index=True))


def _frame(run: folder.Run, name: str) -> pd.DataFrame:
    """A table's file, written again where it is older than the study or cannot be read; where that fails, the table."""
    found = tables.read(run, name) if tables.fresh(run, name) else None
    if found is None:
        with suppress(OSError):
            tables.write(run)
            found = tables.read(run, name)
    return tables.make(run, name) if found is None else found


def ranking(frame: pd.DataFrame) -> pd.DataFrame:
    """The table that people read: complete trials first, best first in each state, what varies and the metrics only.

    The best is the one with the largest first objective, each study's own.

    Args:
        frame: from `trials`.
    """
    parameters = [c for c in frame if c.startswith("params.") and frame[c].nunique(dropna=False) > 1]
    objectives = frame["objective"] if "objective" in frame else pd.Series("elbo", frame.index)
    named = dict.fromkeys([*HEADLINE, *objectives])
    found = [f"metrics.{name}" for name in in_order(set(named)) if f"metrics.{name}" in frame]
    values = [row.get(f"metrics.{name}") for name, (_, row) in zip(objectives, frame.iterrows())]
    several = ["study"] if frame["study"].nunique() > 1 else []
    unlike = differing(frame)
    cause = ["cause"] if (frame["cause"] != "").any() else []
    order = frame["state"].map({state: i for i, state in enumerate(STATES)})
    ranked = frame.assign(order=order, value=values).sort_values(["order", "value"], ascending=[True, False])
    shown = ranked[[*several, "number", "state", *cause, "steps", "seconds", *unlike, *found, *parameters]]
    return shown.rename(columns=lambda c: c.removeprefix("params.").removeprefix("metrics."))


def text(frame: pd.DataFrame) -> str:
    """A frame as aligned text."""
    return frame.to_string(index=False, na_rep="", float_format=_number)


def differing(frame: pd.DataFrame) -> list[str]:
    """What of COMPARABLE is not the same in all rows; where anything is not, their ELBOs do not compare."""
    return [column for column in COMPARABLE if column in frame and frame[column].nunique(dropna=False) > 1]


def _mean_and_deviation(values: pd.Series) -> str:
    mean = _number(values.mean())
    return mean if values.count() < 2 else f"{mean} ± {_number(values.std(ddof=1))}"


def _number(value: float) -> str:
    if value == 0 or abs(value) >= 10:
        return f"{value:.2f}"
    return f"{value:.3g}"
