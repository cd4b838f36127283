"""Source files: what is missing is fetched, what is damaged is named."""

import contextlib
import gzip
import http.client
import io
import os
import shutil
import socket
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path

from imagesets.base import DataError, Info

show_progress: ContextVar[bool] = ContextVar("show_progress", default=False)
"""Whether downloads draw a bar on standard error."""


PACKED = (".gz", ".tgz", ".zip")


def fetch(
    info: Info, root: Path, download: Callable[[Path], None], check: Callable[[Path], object] | None = None
) -> None:
    """Puts those of `info.sources` that are missing under `root`, each in one step: no reader meets half a file.

    Args:
        info: of the data set.
        root: the data folder.
        download: puts all files below the folder that it is given, in the same layout.
        check: reads a file, and raises what is wrong with it. Before anything is downloaded it is called for those
            that are there.

    Raises:
        DataError: there is no network, the mirrors fail, or the folder cannot be written.
    """
    for source in info.sources:
        _unpack(info, root / source)
    missing = [source for source in info.sources if not os.path.exists(root / source)]
    if not missing:
        return
    if check is not None:
        for source in info.sources:
            if source not in missing:
                check(root / source)
    try:
        with made(root), tempfile.TemporaryDirectory(prefix=f".download-{os.getpid()}-", dir=root) as temporary:
            with _quick_and_quiet():
                download(Path(temporary))
            for source in missing:
                (root / source).parent.mkdir(parents=True, exist_ok=True)
                os.replace(Path(temporary, source), root / source)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[-1]  # the last mirror's, of several lines
        raise DataError(
            f"{info.name}: {root / missing[0]} is missing and could not be downloaded ({reason}); "
            f"put {', '.join(info.sources)} under {root}, {_or_use(info)}{_packed(root, missing)}"
        ) from error


def is_there(path: Path) -> bool:
    """Whether a source file is there, or packed by gzip beside its place, from where `fetch` takes it."""
    return path.exists() or _gz(path).is_file()


def _gz(path: Path) -> Path:
    return path.with_name(f"{path.name}.gz")


def _unpack(info: Info, path: Path) -> None:
    """Unpacks a source file that lies packed beside its place only."""
    packed, temporary = _gz(path), path.with_name(f".{path.name}.{os.getpid()}")
    if path.exists() or not packed.is_file():
        return
    try:
        with gzip.open(packed) as source, open(temporary, "wb") as target:
            shutil.copyfileobj(source, target)
        os.replace(temporary, path)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise damaged(info, packed, f"cannot be unpacked ({error})") from error
    except OSError as error:
        raise DataError(
            f"{info.name}: {packed} cannot be unpacked into {path.parent} ({error.strerror}); unpack it as {path}"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _packed(root: Path, missing: list[str]) -> str:
    """Names what lies packed where files are missing."""
    folders = dict.fromkeys([*((root / source).parent for source in missing), root])
    found = [path for folder in folders for end in PACKED for path in sorted(folder.glob(f"*{end}"))]
    return f"; packed files lie there, to be unpacked: {', '.join(map(str, found))}" if found else ""


@contextlib.contextmanager
def made(folder: Path) -> Iterator[None]:
    """Makes a folder, and takes it away again where nothing comes into it: its name may have been mistyped."""
    new = [each for each in (folder, *folder.parents) if not os.path.exists(each)]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # another process has put something there
            for each in new:
                each.rmdir()
        raise


def damaged(info: Info, path: Path, finding: str) -> DataError:
    """The error for a source file that is not what it should be; `finding` follows the path, as in "has 3 bytes"."""
    return DataError(
        f"{info.name}: {path} {finding}; delete it, and it is downloaded again, or replace it, {_or_use(info)}"
    )


def _or_use(info: Info) -> str:
    return f"or use {info.stand_in}, which needs no download"


@contextlib.contextmanager
def _quick_and_quiet() -> Iterator[None]:
    """torchvision waits for a silent server for ever and draws its progress on stderr; both are global settings."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(5)  # seconds without an answer, not for the whole file
    try:
        with contextlib.nullcontext() if show_progress.get() else contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(timeout)
