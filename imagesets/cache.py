"""Data sets as memory-mapped arrays: made once a machine, read by every process of it, none of which holds a copy.

A data set's arrays lie in a folder of their own under the data folder, beside an index.json that says their names,
checksums, and the files that they were made of. The folder appears whole, by a rename; what is damaged, or was made of
other files than those that lie there now, is made again.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from imagesets.base import Split, Splits
from imagesets.files import made

Arrays = dict[str, NDArray[Any]]
New = Callable[[str, Sequence[int], DTypeLike], NDArray[Any]]
"""Makes room for an array, given its name, shape and type; all of it must then be filled."""

FOLDER = "cache"
LAYOUT = 1  # of index.json


def stored(
    root: Path,
    name: str,
    build: Callable[[New], None],
    *,
    options: Mapping[str, Any] | None = None,
    version: int = 1,
    sources: Sequence[Path] = (),
    stamp: str = "",
) -> Arrays:
    """The arrays of a data set, memory-mapped; made first where they are missing, damaged or stale.

    Processes that ask at once wait for the first, which makes them. Where the data folder cannot be written, the arrays
    are made in memory each time.

    Args:
        root: the data folder.
        name: of the data set.
        build: makes them: it asks for room for each array and fills it. What it raises is handed on, and nothing kept.
        options: what else they depend on, as JSON has it.
        version: to be raised when `build` makes other arrays than before.
        sources: the files that `build` reads. Once the arrays are there, they may be deleted.
        stamp: of what else `build` reads; arrays of another one are made again.

    Returns:
        Arrays by name. Writing to them changes this process's copy only.
    """
    key = f"{name}-{_digest({'options': options or {}, 'version': version, 'layout': LAYOUT})}"
    folder = root / FOLDER / key
    arrays = _read(folder, root, sources, stamp)
    if arrays is not None:
        return arrays
    with contextlib.suppress(OSError):  # a folder that cannot be written, or a full disk; else made in memory
        with made(folder.parent), _locked(folder.with_name(f".{key}.lock")) as alone:
            arrays = _read(folder, root, sources, stamp)  # whoever held the lock may have made them
            if arrays is None:
                if alone:
                    _sweep(folder)
                _make(folder, root, build, sources, stamp)
                arrays = _read(folder, root, sources, stamp)
        if arrays is not None:
            return arrays
    return _in_memory(build)


def fill(new: New, splits: Splits) -> None:
    """Stores splits that fit in memory; `splits_of` reads them again."""
    for name, split in splits._asdict().items():
        for kind, values in split._asdict().items():
            if values is not None:
                new(f"{name}_{kind}", values.shape, values.dtype)[:] = values


def splits_of(arrays: Arrays) -> Splits:
    """The splits in arrays that are named {train,valid,test}_{images,labels,factors}."""
    return Splits(
        *(
            Split(arrays[f"{part}_images"], arrays.get(f"{part}_labels"), arrays.get(f"{part}_factors"))
            for part in Splits._fields
        )
    )


def size(root: Path, name: str) -> int:
    """Bytes that a data set's arrays take under the data folder, over all options that it was asked for with."""
    return sum(f.stat().st_size for f in (root / FOLDER).glob(f"{name}-{'[0-9a-f]' * 12}/*.npy"))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _stamps(root: Path, sources: Sequence[Path]) -> dict[str, list[int]]:
    """Size and time of change of the source files that are there."""
    found = {}
    for path in sources:
        with contextlib.suppress(OSError):
            status = path.stat()
            found[os.path.relpath(path, root)] = [status.st_size, status.st_mtime_ns]
    return found


def _read(folder: Path, root: Path, sources: Sequence[Path], stamp: str) -> Arrays | None:
    try:
        index = json.loads((folder / "index.json").read_text())
        if index.get("stamp", "") != stamp:
            return None
        for source, found in _stamps(root, sources).items():
            if index["sources"].get(source) != found:
                return None
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in index["arrays"]}
        if all(_checksum(array) == index["arrays"][name] for name, array in arrays.items()):
            return {name: array.view(np.ndarray) for name, array in arrays.items()}
    except Exception:  # a damaged file can raise nearly anything, and the answer is always to make it again
        pass
    return None


def _checksum(array: NDArray[Any]) -> int:
    """Of type, shape and values: one bit of an npy header turns little-endian numbers into big-endian ones."""
    header = zlib.crc32(f"{array.dtype.str} {array.shape}".encode())
    return zlib.crc32(array.reshape(-1).view(np.uint8).data, header)


def _make(folder: Path, root: Path, build: Callable[[New], None], sources: Sequence[Path], stamp: str) -> None:
    """Makes the arrays in a temporary folder, which then takes the name.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        made: dict[str, np.memmap[Any, Any]] = {}

        def new(name: str, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
            path = temporary / f"{name}.npy"
            array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=tuple(shape))
            with open(path, "r+b") as file:  # a full disk must be told here: a mapped page without room is a SIGBUS
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            made[name] = array
            return array

        stamps = _stamps(root, sources)
        build(new)
        stamps = _stamps(root, sources) | stamps  # a download puts its files there; what changed meanwhile is stale
        for array in made.values():
            array.flush()
        checksums = {name: _checksum(array) for name, array in made.items()}
        index = {"arrays": checksums, "sources": stamps, "stamp": stamp}
        (temporary / "index.json").write_text(json.dumps(index, indent=2))
        temporary.chmod(0o755)
        if folder.exists():
            os.rename(folder, temporary / "before")  # who has it open goes on reading it
        os.rename(temporary, folder)
        shutil.rmtree(folder / "before", ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Deletes what builders that were killed have left; for who holds the lock."""
    for left in folder.parent.glob(f".{folder.name}.*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)


def _in_memory(build: Callable[[New], None]) -> Arrays:
    made: Arrays = {}

    def new(name: str, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        made[name] = np.empty(tuple(shape), dtype)
        return made[name]

    build(new)
    return made


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Waits for the lock on a file, and says whether it has it: some file systems have none, only atomic renames."""
    new = not path.exists()
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            alone = True
        except OSError:
            alone = False
        try:
            yield alone
        except BaseException:
            if new:  # what cannot be made leaves nothing
                path.unlink(missing_ok=True)
            raise
