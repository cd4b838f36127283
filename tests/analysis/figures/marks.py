"""What the tests of figures share: trials as a frame, and the words of a plot."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

ELBO = "validation ELBO [nats / image]"


def trials(**columns: list[Any]) -> pd.DataFrame:
    """Trials as `analysis.trials` returns them, numbered from 0."""
    n = len(next(iter(columns.values())))
    base = {"number": list(range(n)), "state": ["COMPLETE"] * n, "metrics.elbo": [-100.0] * n}
    base |= {"metrics.zero_fraction": [0.0] * n, "metrics.hoyer": [0.3] * n}
    return pd.DataFrame({**base, **columns})


def written(ax: Axes) -> tuple[str, str, str]:
    return ax.get_title(), ax.get_xlabel(), ax.get_ylabel()


def legend(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]
