"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WRITER = "([0-9]{1,9})(?:_([0-9a-f]{8}))?"  # process id and machine, which earlier releases did not name


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file under a temporary name beside it that says who writes, then renames it: whole, or the old one.

    A device, a pipe, and whatever else lies in /dev, is written to as it is: renamed over, it would be gone.
    """
    if path.absolute().is_relative_to("/dev") or (path.exists() and not path.is_file() and not path.is_dir()):
        write(path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """A folder to write into, under such a name, which is renamed at the end; those of dead processes are removed.

    Args:
        path: of the folder, which is not there.

    Raises:
        OSError: it cannot be made.
    """
    temporary = _temporary(path)
    for left in abandoned(path):
        shutil.rmtree(left, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def takes_files(folder: Path) -> bool:
    """Whether this process can make files in what lies there, as far as that is known without making one.

    Root may write everywhere, it seems; not in the folders of the kernel's own, /proc, which have no room at all.
    """
    if not folder.is_dir() or not _may(folder, os.W_OK | os.X_OK):
        return False
    return bool(folder.stat().st_mode & 0o222 or os.statvfs(folder).f_blocks)


def _may(path: Path, mode: int) -> bool:
    """Whether this process may, with the rights that it has just now, which need not be all that its user has."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def unwritable(folder: Path) -> str:
    """Why files cannot be made in a folder, which is made where it is not there yet; empty where they can, as far as
    that is known without making one.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    return "" if takes_files(there) else f"{there} is no folder that can be written"


def unwritable_file(path: Path) -> str:
    """The same of a file, whose folder must be there."""
    if path.is_dir():
        return f"{path} is a folder"
    if path.exists():
        return "" if _may(path, os.W_OK) else f"{path} is a file that cannot be written"
    return unwritable(path.parent) if path.parent.is_dir() else f"there is no folder {path.parent}"


def abandoned(path: Path) -> list[Path]:
    """The folders that processes which are gone were making to become this one."""
    names = {found: re.fullmatch(rf"\.{re.escape(path.name)}\.{WRITER}", found.name) for found in _beside(path)}
    return [found for found, match in names.items() if match and found.is_dir() and not may_be_alive(match)]


def _beside(path: Path) -> list[Path]:
    return sorted(path.parent.iterdir()) if path.parent.is_dir() else []


def may_be_alive(writer: re.Match[str]) -> bool:
    """Whether the process that a match of `WRITER` names may be there: of another machine's nobody knows here."""
    process, machine = writer.groups()
    return machine not in (None, _machine()) or _is_alive(int(process))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _machine() -> str:
    """Tells machines that share a disk apart; a name of its own length would not do beside a long file name."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}_{_machine()}")
