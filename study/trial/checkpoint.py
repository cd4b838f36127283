"""A trial's checkpoints: its last state, the one before, and its best one, written whole or not at all.

A checkpoint holds the training's state, the configuration, and the report that was made there: a resumed trial repeats
that report first, because the driver may not have stored it. The file is torch's own archive, in which every record has
a checksum; all of them are verified before anything is read.
"""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from study.trial.files import write_whole

LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"


class CheckpointError(Exception):
    """A checkpoint that is damaged."""


def save(path: Path, checkpoint: dict[str, Any]) -> None:
    """Writes a checkpoint. Raises OSError where there is no room for it."""
    content = _content(checkpoint)
    write_whole(path, lambda temporary: _write(temporary, content))


def save_last(folder: Path, checkpoint: dict[str, Any], is_best: bool = False) -> None:
    """Writes a trial's last checkpoint; the one that was the last becomes the one before.

    Args:
        folder: of the trial.
        checkpoint: what to write.
        is_best: it is the best one too, of which there is a file of its own: where one is damaged the other is not.
    """
    content = _content(checkpoint)

    def write(temporary: Path) -> None:
        _write(temporary, content)
        with suppress(FileNotFoundError):  # the first one; or a dead driver's worker, which lives on a little, moved it
            os.replace(folder / LAST, folder / PREVIOUS)

    if is_best:
        write_whole(folder / BEST, lambda temporary: _write(temporary, content))
    write_whole(folder / LAST, write)


def _content(checkpoint: dict[str, Any]) -> memoryview:
    import torch

    content = io.BytesIO()  # torch's own writer does not say that a disk is full
    torch.save(checkpoint, content)
    return content.getbuffer()


def _write(path: Path, content: memoryview) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # a power cut leaves it whole too


def same(kept: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether two configurations are one: a part that came to the project since brings settings, which do nothing."""
    return all(kept[key] == settings[key] for key in kept.keys() & settings.keys())


def load(path: Path) -> dict[str, Any] | None:
    """Reads a checkpoint onto the CPU; None where there is none.

    Raises:
        CheckpointError: the file is damaged.
        PermissionError: it may not be read; nobody knows whether it is damaged.
    """
    import torch

    return _verified(path, lambda _: torch.load(path, map_location="cpu", weights_only=True))


def without_tensors(path: Path) -> dict[str, Any] | None:
    """As `load`, with None in the place of every tensor; takes no torch."""

    def read(archive: zipfile.ZipFile) -> Any:
        (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        return _Plain(io.BytesIO(archive.read(name))).load()

    return _verified(path, read)


def _verified(path: Path, read: Callable[[zipfile.ZipFile], Any]) -> Any:
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged is not None:
                raise ValueError(f"the checksum of {damaged} is wrong")
            return read(archive)
    except pickle.UnpicklingError:  # torch's own words go on for a page, in colour
        raise CheckpointError(
            f"{path} is damaged (it holds more than tensors and numbers; none of it was run)"
        ) from None
    except PermissionError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is damaged ({reason})") from error


class _Plain(pickle.Unpickler):
    """Reads what torch wrote; of torch it makes nothing, and whatever else is not plain it refuses."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module.partition(".")[0] == "torch":
            return lambda *_: None
        raise pickle.UnpicklingError(f"it holds {module}.{name}, which is no part of a checkpoint")

    def persistent_load(self, _: Any) -> None:
        """A tensor's storage."""


def load_last(folder: Path, say: Callable[[str], None]) -> dict[str, Any] | None:
    """A trial's last checkpoint that is not damaged; None where there is none, and the trial starts from the beginning.

    Args:
        folder: of the trial.
        say: is given a line for each damaged one.
    """
    for name in (LAST, PREVIOUS):
        try:
            found = load(folder / name)
        except CheckpointError as error:
            say(f"{error}; it is put aside as {name}.damaged")
            os.replace(folder / name, folder / f"{name}.damaged")  # or the next one would push it over the one before
            continue
        if found is not None:
            return found
    return None
