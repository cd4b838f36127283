"""What listens at an address, asked as Ray's parts ask each other: in gRPC, which is HTTP/2 (RFC 9113), without Ray.

Ray itself would wait for minutes, and tell of each attempt.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedReader

from study.spec.address import Head

SECONDS = 5.0  # for an answer
DATA, HEADERS, SETTINGS = 0, 1, 4  # types of frames
END_STREAM, END_HEADERS = 1, 4  # flags of frames
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])  # 3.4, with empty SETTINGS
REFUSED = b"InvalidAuthToken"  # in Ray's words, where none is shown


class NoRayError(Exception):
    """What listens there is something else."""


def asks_for_a_token(there: Head) -> bool:
    """Whether the Ray there answers only who shows its token; of one that speaks TLS this is not known, and False.

    Raises:
        OSError: nothing answers.
        NoRayError: what answers does not begin as Ray's server does.
    """
    with socket.create_connection(there, timeout=SECONDS) as connection:
        if os.environ.get("RAY_USE_TLS", "0") in ("1", "true"):
            return False
        connection.settimeout(SECONDS)
        connection.sendall(HELLO + _question())
        with connection.makefile("rb") as answer:
            frames = _frames(answer)
            if next(frames, (None, b""))[0] != SETTINGS:
                raise NoRayError
            found = next((body for kind, body in frames if kind in (DATA, HEADERS)), b"")
            return REFUSED in found


def _question() -> bytes:
    """Asks a head for its cluster's name, which it tells whoever may join."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/ray.rpc.NodeInfoGcsService/GetClusterId",
        ":authority": "ray",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    literals = (bytes([len(text)]) + text.encode() for field in fields.items() for text in field)
    headers = b"".join(b"\0" + name + next(literals) for name in literals)  # RFC 7541, 6.2.2: without a table
    return _frame(HEADERS, END_HEADERS, headers) + _frame(DATA, END_STREAM, bytes(5))  # an empty message


def _frame(kind: int, flags: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags, 0, 0, 0, 1]) + body


def _frames(answer: BufferedReader) -> Iterator[tuple[int, bytes]]:
    """Types and contents of the frames that come, as long as they come."""
    with suppress(ConnectionResetError):
        while len(begins := answer.read(9)) == 9:
            yield begins[3], answer.read(int.from_bytes(begins[:3], "big"))
