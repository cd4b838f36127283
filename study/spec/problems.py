"""What is wrong with a specification, in words."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from study.output import in_a_line, masked

LONGEST = 2000  # characters of a line; what was given may be of any length


class SpecError(Exception):
    """What is wrong with a specification, a line for each mistake."""

    def __init__(self, source: str, problems: Sequence[str]):
        self.problems = [_bounded(in_a_line(problem)) for problem in problems]
        super().__init__("\n".join(f"{in_a_line(source)}: {problem}" for problem in self.problems))


def _bounded(problem: str) -> str:
    """Without its middle where that is long. A password is masked first: its half is none that can be recognised."""
    if len(problem) <= LONGEST:
        return problem
    return f"{masked(problem)[: LONGEST - 500]} ... {masked(problem)[-500:]}"


class MachineError(Exception):
    """What this machine, or a cluster, did not do, though nothing is wrong with what was asked for."""


def nearest(given: str, known: Sequence[str]) -> str:
    """A question such as ". Did you mean 'x'?" where a known name is close to the given one, else nothing."""
    close = difflib.get_close_matches(given, known, n=1)
    return f". Did you mean {close[0]!r}?" if close else ""
