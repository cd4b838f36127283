"""From run folders to pandas tables, figures and reports.

    analysis.trials("vsc-mnist", "vae-mnist")     # one row a trial

Pandas and Optuna are imported when a table is asked for, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.tables import confirmed, curves, latents, train, trials, values

__all__ = ["confirmed", "curves", "latents", "train", "trials", "values"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from analysis import tables

        return getattr(tables, name)
    raise AttributeError(f"module 'analysis' has no attribute {name!r}")
