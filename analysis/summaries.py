"""What runs come to: the best of each model, means and spreads over seeds, Pareto sets, how trials ended and the cost.

Each function maps frames to a frame, whose columns docs/tables.md describes. Of numbers whose kind the study says, as
`elbo_bound` and `elbo_soft_cross_entropy`, each kind has a column of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.notes import saved
from analysis.tables import (
    COMPARABLE,
    DEVIATION,
    HEADLINE,
    by_kind,
    cell,
    confirmation,
    distrusted,
    pathologies,
    ranking,
    sound,
)
from study.spec.measures import in_order

ABOUT = ("model", *COMPARABLE)  # numbers of one measure compare where the last four are equal


def best(trials: pd.DataFrame) -> pd.DataFrame:
    """The best complete trial of each model on each data set, by each first objective; none with a pathology, unless
    all have one.

    Args:
        trials: from `analysis.trials`.
    """
    complete = trials[trials["state"] == "COMPLETE"]
    rows = []
    for _, group in complete.groupby([*ABOUT, "objective"], sort=False, dropna=False):
        group, objective = sound(group), group["objective"].iloc[0]
        values = group[f"metrics.{objective}"]
        if values.notna().any():
            winner = group.loc[values.idxmax()]
            about = {"number": winner["number"], "among": len(group), "settings": settings(winner)}
            cost = {"steps": winner["steps"], "seconds": winner["seconds"]}
            named = in_order({*HEADLINE, *group["objective"]})
            measured = {name: winner[f"metrics.{name}"] for name in named if f"metrics.{name}" in group}
            rows.append({**winner[[*ABOUT, "objective", "study"]], **about, **cost, **measured})
    return _by_kind(rows, (*ABOUT, "objective", "study", "number", "among", "settings", "steps", "seconds"))


def settings(trial: pd.Series) -> str:
    """What a trial had drawn, as far as a setting is called so: "lr 0.001, latent 20, grad_clip None"."""
    drawn = [name for name in str(trial.get("drawn", "")).split(", ") if f"params.{name}" in trial]
    return ", ".join(f"{name} {cell(trial[f'params.{name}'], '') or None}" for name in drawn)


def spread(confirmed: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over seeds of each confirmed configuration, on the test set.

    Args:
        confirmed: from `analysis.confirmed`.
    """
    names = in_order({name.removeprefix("metrics.") for name in confirmed if name.startswith("metrics.")})
    rows = []
    for _, group in confirmed.groupby(["study", "configuration"], sort=False) if len(confirmed) else ():
        sound = group[group["cause"] == ""]
        about = group.iloc[0].reindex(["study", *ABOUT, "configuration", "samples", "images"])
        measured: dict[str, Any] = {}
        for name in names:
            values = sound[f"metrics.{name}"].astype(float)
            measured |= {name: values.mean(), f"{name}{DEVIATION}": values.std(ddof=1)}
        counts = {"seeds": len(sound), "failed": len(group) - len(sound), "too_few_samples": distrusted(sound)}
        rows.append({**about, **counts, **measured})
    counted = ("samples", "images", "seeds", "failed", "too_few_samples")
    return _by_kind(rows, ("study", *ABOUT, "configuration", *counted))


def front(trials: pd.DataFrame) -> pd.DataFrame:
    """The Pareto set of each study of several objectives: the complete trials that no other one of it beats, without
    those that have a pathology, unless all have one.

    Args:
        trials: from `analysis.trials`.
    """
    rows = []
    complete = trials[trials["state"] == "COMPLETE"]
    for _, group in complete.groupby("study", sort=False):
        objectives = str(group.get("objectives", group["objective"]).iloc[0]).split(", ")
        if len(objectives) > 1:
            group = sound(group)
            values = group[[f"metrics.{name}" for name in objectives]].to_numpy(float)
            chosen = group[unbeaten(values)].sort_values(f"metrics.{objectives[0]}", ascending=False)
            for _, trial in chosen.iterrows():
                measured = {name: trial[f"metrics.{name}"] for name in objectives}
                rows.append({**trial[["study", *ABOUT, "number"]], **measured, "settings": settings(trial)})
    return _by_kind(rows, ("study", *ABOUT, "number", "settings"))


def unbeaten(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points no other one beats: is as large in every objective, and larger in one.

    Args:
        values: of the objectives, [N, K]; a point with one that is not finite counts as beaten.

    Returns:
        [N].
    """
    finite: NDArray[np.bool_] = np.all(np.isfinite(values), axis=1)
    found = [
        kept and not ((values >= point).all(1) & (values > point).any(1) & finite).any()
        for point, kept in zip(values, finite)
    ]
    return np.array(found, dtype=bool)


def studies(trials: pd.DataFrame, confirmed: pd.DataFrame) -> pd.DataFrame:
    """How the trials of each study ended, and what they and the confirmation took.

    Args:
        trials: from `analysis.trials`.
        confirmed: from `analysis.confirmed`.
    """
    found = dict(list(confirmed.groupby("study", sort=False))) if len(confirmed) else {}
    searched = dict(list(trials.groupby("study", sort=False)))
    rows = []
    for study in dict.fromkeys([*searched, *found]):
        of = searched.get(study, trials.iloc[:0])
        trained = found.get(study, confirmed.iloc[:0])
        about = (of if len(of) else trained).iloc[0]
        rows.append({"study": study, **about.reindex([*ABOUT]), **_row_of(of, trained)})
    shares = {f"{name}_share": 0.0 for name in _pathological(trials)} if len(trials) else {}
    columns = rows or [{"study": "", **dict.fromkeys(ABOUT), **_row_of(trials[:0], confirmed[:0])}]
    return pd.DataFrame(columns)[: len(rows)].fillna(shares)


def _row_of(trials: pd.DataFrame, trained: pd.DataFrame) -> dict[str, Any]:
    return {**_ended(trials), **_took(trials), **_confirmed(trained)}


def _ended(trials: pd.DataFrame) -> dict[str, Any]:
    count = trials["state"].value_counts()
    complete, pruned, failed = (int(count.get(state, 0)) for state in ("COMPLETE", "PRUNED", "FAIL"))
    ended = complete + pruned + failed
    return {
        "trials": len(trials),
        "complete": complete,
        "pruned": pruned,
        "failed": failed,
        "unfinished": len(trials) - ended,
        "pruned_share": pruned / ended if ended else np.nan,
        "failed_share": failed / ended if ended else np.nan,
        **{f"{name}_share": times / ended for name, times in _pathological(trials).items()},
    }


def _pathological(trials: pd.DataFrame) -> dict[str, int]:
    """How many trials have which pathology."""
    names = pathologies(trials).replace("", np.nan).dropna().str.split(", ").explode()
    return {str(name): int(times) for name, times in names.value_counts().sort_index().items()}


def _took(trials: pd.DataFrame) -> dict[str, Any]:
    timed = len(trials) > 0 and "budget" in trials  # what earlier releases did not say
    return {
        "steps": int(trials["steps"].sum()),
        "saved_share": saved(trials).share if timed else np.nan,
        "seconds": trials["seconds"].sum(),
        "cpu_seconds": trials["cpu_seconds"].sum(min_count=1) if timed else np.nan,
        "started": trials["started"].min() if timed else pd.NaT,
        "ended": trials["ended"].max() if timed else pd.NaT,
    }


def _confirmed(trained: pd.DataFrame) -> dict[str, Any]:
    of = {name: trained[name].sum(min_count=1) if name in trained else np.nan for name in ("seconds", "cpu_seconds")}
    return {
        "confirmed": len(trained),
        "confirmed_failed": int((trained["cause"] != "").sum()) if len(trained) else 0,
        **{f"confirmed_{name}": value for name, value in of.items()},
    }


def _by_kind(rows: list[dict[str, Any]], always: Sequence[str]) -> pd.DataFrame:
    """A table of rows; without any it has the columns that it always has, and none of a measure."""
    return by_kind(pd.DataFrame(rows, columns=None if rows else [*always]), always=True)


class Table(NamedTuple):
    """A table of the command line; both functions take the frames of `analysis.trials` and `analysis.confirmed`."""

    title: str
    people: Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]  # what is read
    whole: Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]  # all columns, as numbers


def _same(title: str, of: Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]) -> Table:
    return Table(title, of, of)


TABLES = {
    "studies": _same("How trials ended and what they took", studies),
    "best": _same("Best trials, on the validation set", lambda trials, confirmed: best(trials)),
    "confirmed": Table(
        "Confirmed over fresh seeds, on the test set, mean ± standard deviation",
        lambda trials, confirmed: confirmation(confirmed) if len(confirmed) else confirmed,
        lambda trials, confirmed: spread(confirmed),
    ),
    "front": _same("Pareto sets", lambda trials, confirmed: front(trials)),
    "trials": Table("Trials", lambda trials, confirmed: ranking(trials), lambda trials, confirmed: trials),
}
