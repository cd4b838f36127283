"""The address of a Ray cluster as it is given, or named by the environment: its form, which is read without Ray."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from study.spec.problems import SpecError

AUTO = "auto"
"""In the place of an address: the one that RAY_ADDRESS names, or `ray start` started on this machine."""
LOCAL = "local"
"""In the place of an address: none, a Ray of the study's own, though RAY_ADDRESS names a cluster."""
ENVIRONMENT = "RAY_ADDRESS"  # Ray's own; in a job that was submitted to a cluster, Ray has set it to the cluster's

_FORM = re.compile(r"(?:\[([^\s\[\]/]+)\]|([^\s\[\]:/]+)):([0-9]{1,5})", re.ASCII)
# Through Ray's client, ray://, Tune moves searcher, scheduler and callbacks to the head, away from the process that has
# the run's lock, the open study and the signals.
_FROM_OUTSIDE = (
    "; the process that leads a study must run on a machine of the cluster; from outside, have one run it as a job: "
    "`ray job submit -- python -m study run ...`"
)


class Head(NamedTuple):
    """Where the head of a cluster listens."""

    host: str  # an IPv6 address without its brackets
    port: int


def wanted(given: str | None) -> str | None:
    """The cluster to join: the one that was given, else the one that RAY_ADDRESS names; None for a Ray of one's own."""
    named = given or os.environ.get(ENVIRONMENT) or LOCAL
    return None if named == LOCAL else named


def head(address: str, named_by: str = "--address") -> Head:
    """What HOST:PORT says.

    Args:
        address: as it was given.
        named_by: what gave it.

    Raises:
        SpecError: it is not that.
    """
    found = _FORM.fullmatch(address)
    port = int(found[3]) if found else 0
    if not found or not 0 < port < 65536:
        needed = f"needs HOST:PORT, as `ray start --head` prints it, {AUTO} or {LOCAL}, got {address!r}"
        raise SpecError(named_by, [f"{needed}{_FROM_OUTSIDE if '://' in address else ''}"])
    return Head(found[1] or found[2], port)
