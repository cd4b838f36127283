"""A Ray of a study's own on this machine: a folder for it, and its start, which a busy machine may need several of."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import ray
from ray._common.utils import get_default_ray_temp_dir

from study.signals import Stop
from study.spec.problems import MachineError

MARK = {"latentsweep": "private"}  # a label of the machine of such a Ray, which nobody else may join
TRIES = 4
LONGEST = 107 - len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")  # a socket's path: 107 bytes


def start(stop: Stop, **options: Any) -> None:
    """Starts Ray, again where it fails: its parts wait half a minute for each other, which a busy machine exceeds.

    Args:
        stop: of the command; a signal ends the attempts.
        options: of `ray.init`.

    Raises:
        MachineError: Ray did not start, or there is no folder for it.
    """
    import psutil  # comes with Ray, and is found once that is imported

    folder = folder_for_sockets()
    for attempt in range(1, TRIES + 1):
        before = set(psutil.Process().children())
        try:
            ray.init(address="local", labels=MARK, _temp_dir=str(folder), **options)
            return
        except Exception as error:
            ray.shutdown()
            _end(set(psutil.Process().children()) - before)
            stop.leave_if_asked()
            reason = said(error)
        if attempt < TRIES:
            print(f"Ray did not start: {reason}; it is tried again", file=sys.stderr, flush=True)
    raise MachineError(
        f"Ray did not start in {TRIES} attempts: {reason}\n"
        f"is the machine too busy, or its memory or disk full? Ray's logs are in {folder / 'session_latest' / 'logs'}"
    )


def folder_for_sockets() -> Path:
    """Where Ray keeps its sockets and logs: its usual folder, or one in /tmp if that cannot be written, or is too deep.

    What the environment names and is not there is a slip: it is not made, and a line says so.

    Raises:
        MachineError: neither will do.
    """
    usual, own = Path(get_default_ray_temp_dir()), Path(f"/tmp/ray-{os.getuid()}")
    if not usual.parent.exists():
        named = "RAY_TMPDIR" if "RAY_TMPDIR" in os.environ else "TMPDIR"
        print(f"{named}: there is no folder {usual.parent}; Ray's sockets and logs are in {own}", file=sys.stderr)
    for folder in (usual, own):
        if len(os.fsencode(folder)) <= LONGEST and _can_be_written(folder):
            return folder
    raise MachineError(
        f"Ray has no folder for its sockets: {usual} and {own} cannot be written, or have more than {LONGEST} bytes; "
        f"set RAY_TMPDIR to a folder of a short path"
    )


def said(error: BaseException) -> str:
    """What was wrong in the first place, in a line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    if lines and lines[0].endswith("Traceback (most recent call last):"):  # in a message, at whose end it says why
        return lines[-1].partition(". ")[0]
    return lines[0].rstrip(".") if lines else type(error).__name__


def _can_be_written(folder: Path) -> bool:
    there = folder if folder.exists() else folder.parent
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _end(children: set[Any]) -> None:
    """Ends those processes that are Ray's, and theirs: Ray forgets what it started when it did not come up whole."""
    import psutil

    own, doomed = str(Path(ray.__file__).parent), []
    for child in children:
        try:
            if own in " ".join(child.cmdline()):
                doomed += [child, *child.children(recursive=True)]
        except psutil.Error:  # it has ended
            continue
    for process in doomed:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(doomed, timeout=10)
