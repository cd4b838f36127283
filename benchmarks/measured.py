"""What a row of a table of speeds is: two sides measured in turns in one run, and what is asked of their ratio."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

from benchmarks.serving import Pace, Trainings

HEADS = ("row", "what", "ours", "against", "the other's", "ratio", "asked", "held")


class Asked(NamedTuple):
    """What the command was asked for."""

    data: str | None  # root of MNIST's files; None is the 5,000 digits that are there in any case
    folder: Path  # to write in
    repeats: int
    quick: bool  # tiny sizes, whose numbers mean nothing
    trials: int  # of the studies whose driver is measured
    pythae: Path | None  # where its environment is, or is to be made


class Sides(NamedTuple):
    """What was measured: both sides' figures in each turn, the other's None where there is no other."""

    turns: Sequence[tuple[Pace, Pace | None]]
    note: str = ""

    def ours(self) -> Pace:
        return _medians([ours for ours, _ in self.turns])

    def theirs(self) -> Pace | None:
        found = [theirs for _, theirs in self.turns if theirs is not None]
        return _medians(found) if found else None

    def ratios(self) -> Pace | None:
        """Ours by the other's, the median over the turns."""
        found = [
            Pace(ours.clock / theirs.clock, ours.cpu / theirs.cpu) for ours, theirs in self.turns if theirs is not None
        ]
        return _medians(found) if found else None


class Row(NamedTuple):
    """A claim, and what measures it."""

    name: str
    what: str  # with its unit
    against: str  # empty where a figure is asked for by itself
    asked: Literal["at least", "at most"]
    limit: float
    by: Literal["clock", "cpu", "both"]
    measure: Callable[[Asked], Sides | str]  # or why it cannot be measured

    def cells(self, found: Sides | str) -> list[str]:
        """The line of the table, as HEADS names its cells."""
        by = {"clock": "", "cpu": " of CPU", "both": ", both"}[self.by]
        asked = f"{self.asked} {self.limit:g}{by}"
        if isinstance(found, str):
            return [self.name, self.what, "", self.against, "", "", asked, found]
        held = "yes" if self.holds(found) else "no"
        theirs, ratios = found.theirs(), found.ratios()
        sides = ["" if side is None else shown(side) for side in (theirs, ratios)]
        return [self.name, self.what, shown(found.ours()), self.against, *sides, asked, held]

    def holds(self, found: Sides) -> bool:
        figures = found.ratios() or found.ours()
        judged = {"clock": [figures.clock], "cpu": [figures.cpu], "both": [*figures]}[self.by]
        if self.asked == "at least":
            return all(figure >= self.limit for figure in judged)
        return all(figure <= self.limit for figure in judged)


def _medians(found: Sequence[Pace]) -> Pace:
    return Pace(median(pace.clock for pace in found), median(pace.cpu for pace in found))


def shown(pace: Pace) -> str:
    """By the clock, and of CPU in brackets where it is known."""
    return " ".join([_digits(pace.clock), *([] if math.isnan(pace.cpu) else [f"({_digits(pace.cpu)})"])])


def _digits(figure: float) -> str:
    return f"{figure:.0f}" if figure >= 1000 else f"{figure:.3g}"


def in_turns(ours: Trainings, theirs: Trainings, steps: int, repeats: int) -> list[tuple[Pace, Pace]]:
    """Steps a second of both, one after the other, after a few that are not counted."""
    for side in (ours, theirs):
        side.go(max(1, steps // 5))
    found = []
    for turn in range(repeats):
        order = (ours, theirs) if turn % 2 == 0 else (theirs, ours)
        paces = {id(side): side.go(steps) for side in order}
        found.append((paces[id(ours)], paces[id(theirs)]))
    return found
