"""A journal that is written in fewer pieces: what is appended together is one write, and waits for the disk once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from optuna.storages.journal import JournalFileBackend


class Journal(JournalFileBackend):
    """Optuna's file, for one writer at a time, this process.

    A death in the middle of a write leaves some of its lines, and maybe a part of one, which `mend_journal` cuts off.
    Then all is as after a death between two of the lines, each written by itself.
    """

    def __init__(self, path: str):
        super().__init__(path)
        self._held: list[dict[str, Any]] | None = None  # what is appended `together`
        self._begun = 0  # lines in the file before that

    @contextmanager
    def together(self, lines: int) -> Iterator[None]:
        """What is appended inside is read from memory, and written at the end.

        Args:
            lines: that have been read from the file, and are all that it has.
        """
        if self._held is not None:  # it is the outer one's
            yield
            return
        self._held, self._begun = [], lines
        try:
            yield
        finally:
            held, self._held = self._held, None
            if held:
                super().append_logs(held)
                for _ in super().read_logs(lines):  # where each line ends; else the next read begins with the first
                    pass

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        if self._held is None:
            super().append_logs(logs)
        else:
            self._held += json.loads(json.dumps(logs))  # as it will be read

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        if self._held is None:
            return super().read_logs(log_number_from)
        return iter(self._held[log_number_from - self._begun :])
