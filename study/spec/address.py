"""The address of a Ray cluster as it is given: its form, which is read without Ray."""

from __future__ import annotations

import re
from typing import NamedTuple

from study.spec.problems import SpecError

AUTO = "auto"
"""In the place of an address: the one that RAY_ADDRESS names, or `ray start` started on this machine."""

_FORM = re.compile(r"(?:\[([^\s\[\]/]+)\]|([^\s\[\]:/]+)):([0-9]{1,5})", re.ASCII)


class Head(NamedTuple):
    """Where the head of a cluster listens."""

    host: str  # an IPv6 address without its brackets
    port: int


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
        needed = "needs HOST:PORT, as `ray start --head` prints it, or auto"
        raise SpecError(named_by, [f"{needed}, got {address!r}"])
    return Head(found[1] or found[2], port)
