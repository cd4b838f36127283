"""Whether the Ray that a driver works with is still there.

A driver whose raylet has died waits for ever, and one whose gcs has died is ended by Ray's own code after a minute.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import ray
from ray._common.network_utils import parse_address

from study.signals import Stop

EVERY = 1.0  # seconds between two looks
OWN, JOINED = 5.0, 40.0  # seconds that a server may be away: the head of a cluster may be one that comes back


class Server(NamedTuple):
    """A part of Ray without which a driver can do nothing."""

    name: str
    host: str
    port: int

    def answers(self) -> bool:
        """Whether there is a process that takes connections, be it busy."""
        try:
            socket.create_connection((self.host, self.port), timeout=EVERY * 5).close()
        except OSError:
            return False
        return True


def servers() -> list[Server]:
    """Those of the Ray that this process is connected to: the cluster's gcs, and the raylet of this machine."""
    context = ray.get_runtime_context()
    host, port = parse_address(context.gcs_address)
    mine = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    return [
        Server("gcs", host, int(port)),
        Server("raylet", mine["NodeManagerAddress"], mine["NodeManagerPort"]),
    ]


@contextmanager
def watched(stop: Stop, seconds: float) -> Iterator[None]:
    """Ends this process when Ray has died under it: what is on disk is whole, and nothing of Ray's would end in time.

    Args:
        stop: of the command; after a signal the process ends anyway.
        seconds: that a server of Ray's may be away.
    """
    there, over = servers(), threading.Event()
    threading.Thread(target=_watch, args=(there, stop, seconds, over), daemon=True).start()
    try:
        yield
    except Exception:
        for server in there:
            if not server.answers():  # the exception, then, is no more than a consequence
                _end(server, stop)
        raise
    finally:
        over.set()


def _watch(there: list[Server], stop: Stop, seconds: float, over: threading.Event) -> None:
    heard = dict.fromkeys(there, time.monotonic())
    while not over.wait(EVERY):
        for server in there:
            if server.answers():
                heard[server] = time.monotonic()
            elif time.monotonic() - heard[server] > seconds and stop.signal is None:
                _end(server, stop)


def _end(server: Server, stop: Stop) -> None:
    stop.end(
        f"Ray has died: its {server.name} at {server.host}:{server.port} is gone; did the machine run out of memory?"
    )
