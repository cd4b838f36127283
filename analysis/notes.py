"""What stands below a table, in words: what its numbers are, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

from analysis.tables import MARK, distrusted
from study.record.words import how_scored, pixels_of
from study.spec.measures import TRUSTED
from study.spec.text import counted


def notes(frame: pd.DataFrame, confirmed: pd.DataFrame) -> list[str]:
    """What stands below a table: what its numbers are and what they cost; what holds for several studies stands once.

    Args:
        frame: from `trials`.
        confirmed: from `confirmed`.
    """
    said: dict[str, list[str]] = {}
    for study, rows in frame.groupby("study", sort=False):
        said.setdefault(f"metrics of the last report on the validation set; {_kind(rows)}.", []).append(str(study))
    for study, rows in confirmed.groupby("study", sort=False) if len(confirmed) else ():
        kind = "" if study in set(frame["study"]) or "kind" not in rows else f"{_kind(rows)}; "
        said.setdefault(f"confirmed numbers are those of the {_confirmed_how(rows, kind)}.", []).append(str(study))
    lines = [f"{', '.join(studies)}: {note}" for note, studies in said.items()]
    lines += [f"{study}: {cost(rows)}." for study, rows in frame.groupby("study", sort=False) if "budget" in rows]
    if any(distrusted(rows[rows["cause"] == ""]) for _, rows in _configurations(confirmed)):
        lines.append(
            f"{MARK.strip()} fewer than {TRUSTED:g} effective samples an image on average: too few to trust it; "
            "more samples would raise the number."
        )
    return lines


def _configurations(confirmed: pd.DataFrame) -> Iterable[tuple[Any, pd.DataFrame]]:
    return confirmed.groupby(["study", "configuration"], sort=False) if len(confirmed) else ()


def _kind(rows: pd.DataFrame) -> str:
    of = rows.iloc[0]
    elbo = "elbo"
    if "metrics.adversarial_elbo" in rows and rows["metrics.adversarial_elbo"].notna().any():
        elbo = "adversarial_elbo is an estimate, no bound; log_likelihood"
    pixels = pixels_of(of["preprocessing"], of["likelihood"], of["kind"])
    return f"nats an image; {elbo} is a {of['kind']} of {pixels} images, {of['likelihood']} likelihood"


def _confirmed_how(rows: pd.DataFrame, kind: str) -> str:
    stated = "checkpoint" in rows and rows["checkpoint"].notna().all()  # older tables are of the last state
    scored = f"; {how}" if (how := how_scored(rows)) else ""
    return (
        f"{'best checkpoint' if stated else 'last state'} of each training on the test set; {kind}"
        f"log_likelihood is importance-weighted, S {rows['samples'].iloc[0]:,}, "
        f"on {counted(rows['images'].iloc[0], 'image', ',')}, where effective_samples of the S count; "
        f"accuracy is a logistic regression's on codes{scored}"
    )


class Saved(NamedTuple):
    """What stopping trials early saved."""

    trials: int  # that were stopped
    steps: int  # that they did not make
    of: int  # all steps, had every trial that ended without failing made its full budget

    @property
    def share(self) -> float:
        return self.steps / self.of if self.of else 0.0


def saved(frame: pd.DataFrame) -> Saved:
    """What stopping trials early saved in one study.

    Args:
        frame: from `trials`.
    """
    stopped, ended = (frame[frame["state"].isin(states)] for states in (["PRUNED"], ["PRUNED", "COMPLETE"]))
    return Saved(len(stopped), int((stopped["budget"] - stopped["steps"]).sum()), int(ended["budget"].sum()))


def cost(frame: pd.DataFrame) -> str:
    """What the trials of one study took, and what stopping early saved.

    Args:
        frame: from `trials`, with at least one row.
    """
    begun, ended = frame["started"].min(), frame["ended"].max()
    when = "" if pd.isna(begun) else f", begun {begun:%Y-%m-%d %H:%M:%S}"
    when += "" if pd.isna(ended) else f", the last one ended {ended:%Y-%m-%d %H:%M:%S}"
    took = [f"{frame['seconds'].sum():,.0f} s of work by the clock"]
    took += [f"{frame['cpu_seconds'].sum():,.0f} CPU s"] if frame["cpu_seconds"].notna().any() else []
    made = counted(frame["steps"].sum(), "step", ",")
    line = f"{counted(len(frame), 'trial')}{when}; {made} in {' and '.join(took)}"
    early = saved(frame)
    if early.trials:
        line += (
            f"; {early.trials} stopped early, which saved {early.steps:,} of {counted(early.of, 'step', ',')}, "
            f"{early.share:.0%}"
        )
    return line
