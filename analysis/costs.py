"""What a study cost, in words."""

from __future__ import annotations

from typing import Any

import pandas as pd

from study.record.words import duration
from study.spec.text import counted


def said(of: dict[str, Any]) -> list[tuple[str, str]]:
    """A row of `summaries.studies` in words."""
    stopped = f"{of['pruned']:,} stopped early ({of['pruned_share']:.0%})"
    failed = f"{of['failed']:,} failed ({of['failed_share']:.0%})"
    ended = f", of those that have ended {stopped} and {failed}" if of["trials"] > of["unfinished"] else ""
    saved = (
        f"; stopping early saved {of['saved_share']:.0%} of what they would have been" if of["saved_share"] > 0 else ""
    )
    searched = [
        ("trials", f"{of['trials']:,}{ended}"),
        ("steps", f"{of['steps']:,}{saved}"),
        ("work on trials", _work(of["seconds"], of["cpu_seconds"])),
        (
            "from, to",
            " to ".join(f"{time:%Y-%m-%d %H:%M}" for key in ("started", "ended") if pd.notna(time := of[key])),
        ),
    ]
    trained = f"{counted(of['confirmed'], 'training')}, {of['confirmed_failed']:,} failed"
    confirmed = [("confirmation", f"{trained}; {_work(of['confirmed_seconds'], of['confirmed_cpu_seconds'])}")]
    return [*(searched if of["trials"] else []), *(confirmed if of["confirmed"] else [])]


def _work(seconds: float, cpu_seconds: float) -> str:
    on_cpu = f", {duration(cpu_seconds)} of CPU" if pd.notna(cpu_seconds) else ""
    return f"{duration(seconds)} by the clock, all together{on_cpu}" if pd.notna(seconds) else "not known"
