"""Tables of a benchmark, as docs/results.md has them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, from its head's cells and those of its lines."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *lines))


def spread(values: Iterable[str | float], digits: int = 2) -> str:
    """Mean ± standard deviation over seeds; of a single number, itself; empty where there is none.

    Args:
        values: numbers, also as a kept row has them: "" where a model has none.
        digits: behind the point.
    """
    given = [float(value) for value in values if value != ""]
    if not given:
        return ""
    mean = f"{statistics.mean(given):.{digits}f}"
    return mean if len(given) == 1 else f"{mean} ± {statistics.stdev(given):.{digits}f}"
