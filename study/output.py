"""Standard output and standard error that may go: a closed pipe, a dead terminal, or none from the start."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO


def outlive() -> None:
    """Lets this process go on without its standard output and error, should these go; what is printed then is lost."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        setattr(sys, name, open(os.devnull, "w") if stream is None else _Outliving(stream))  # noqa: SIM115


class _Outliving:
    """A text stream, whose file becomes the null device at the first error of writing to it."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            self._let_go()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._let_go()

    def _let_go(self) -> None:
        """What waits in the buffer goes to the null device, too: else the interpreter complains at its end."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)
