"""A trial's checkpoints: its last state and its best one, written whole or not at all.

A checkpoint holds the training's state, the configuration, and the report that was made there: a resumed trial repeats
that report first, because the driver may not have stored it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from study.folder import RunError, write_whole

LAST, BEST = "last.pt", "best.pt"


def save(path: Path, checkpoint: dict[str, Any]) -> None:
    """Writes a checkpoint."""
    write_whole(path, lambda temporary: torch.save(checkpoint, temporary))


def load(path: Path) -> dict[str, Any] | None:
    """Reads a checkpoint onto the CPU; None where there is none.

    Raises:
        RunError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise nearly anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"{path} is damaged ({reason}); without it, its trial starts from the beginning") from error
