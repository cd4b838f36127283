"""What `resources.gpus: auto` came to in a run: measured once on a card, kept in the study, and used again."""

from __future__ import annotations

from typing import Any, NamedTuple

from study.record.folder import OpenRun
from study.spec import StudySpec
from study.spec.text import counted

PACKED = "packed"  # an attribute of the study
MOST = 16  # trials on a card: more would wait for each other
MARGIN = 1.25  # of what was measured: other configurations may need other pieces of memory
CUDA = 512 << 20  # bytes that CUDA itself takes for a process, beside what torch allocates
GRID = 10_000  # Ray counts a card in so many parts


class Packed(NamedTuple):
    """How trials share a card."""

    gpus: float  # of a trial; 0 where there is no card
    peak: int = 0  # bytes that torch had reserved at most for the largest training
    memory: int = 0  # bytes of the smallest card
    card: str = ""  # its name

    def told(self) -> str:
        """In a line."""
        if not self.gpus:
            return "resources.gpus: auto is 0, for there is no GPU; trials are on CPUs"
        each = counted(round(1 / self.gpus), "trial")
        return (
            f"resources.gpus: auto is {self.gpus:g}, {each} a card: the largest took {self.peak / 1e9:.3g} GB of "
            f"{self.memory / 1e9:.3g} ({self.card}); {MARGIN - 1:.0%} and {CUDA / 1e9:.2g} GB for CUDA were added"
        )


def packed(peak: int, memory: int, card: str) -> Packed:
    """As many trials on a card as have room by bytes, at most MOST; each has an equal part of it.

    Args:
        peak: bytes that one takes at most.
        memory: bytes of the card.
        card: its name.
    """
    fit = max(1, min(MOST, int(memory // (peak * MARGIN + CUDA))))
    return Packed(GRID // fit / GRID, peak, memory, card)  # cut, so that so many parts are no more than the card


def keep(opened: OpenRun, found: Packed) -> None:
    """Keeps it in the study; for who holds the run."""
    opened.study.set_user_attr(PACKED, found._asdict())


def kept(opened: OpenRun) -> Packed | None:
    """What the run keeps, where its specification leaves it to be measured."""
    said: dict[str, Any] | None = opened.study.user_attrs.get(PACKED)
    return Packed(**said) if said and opened.spec.resources.gpus == "auto" else None


def as_packed(spec: StudySpec, found: Packed | None) -> StudySpec:
    """The specification with the number in the place of `auto`, once there is one."""
    if found is None:
        return spec
    return spec.model_copy(update={"resources": spec.resources.model_copy(update={"gpus": found.gpus})})
