"""Arrays that are slow to make, kept in a file that is trusted only when its contents have the known digest."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.base import DataError

Arrays = dict[str, NDArray[Any]]


def cached(path: Path, sha256: str, build: Callable[[], Arrays]) -> Arrays:
    """The arrays in an npz file, or those that `build` makes when the file is missing, damaged or stale.

    Where the folder cannot be written, the arrays are built each time.

    Args:
        path: the npz file.
        sha256: what `digest` says of the right arrays.
        build: makes them.

    Raises:
        DataError: what `build` makes does not have the digest either.
    """
    arrays = _read(path)
    if arrays is None or digest(arrays) != sha256:
        arrays = build()
        if (found := digest(arrays)) != sha256:
            raise DataError(
                f"{path.stem}: its source has other contents (sha256 {found[:12]}...) than this data set was made of "
                f"({sha256[:12]}...); install the releases that requirements.txt names"
            )
        _write(path, arrays)
    return arrays


def digest(arrays: Arrays) -> str:
    """SHA-256 over names, types, shapes and values."""
    sha256 = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        sha256.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        sha256.update(array.tobytes())
    return sha256.hexdigest()


def _read(path: Path) -> Arrays | None:
    try:
        with open(path, "rb") as file, np.load(file) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception:  # a damaged npz can raise nearly anything, and the answer is always to build it again
        return None


def _write(path: Path, arrays: Arrays) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(OSError):  # a read-only or full folder costs time at the next load, nothing else
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]  # no array is named allow_pickle
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
