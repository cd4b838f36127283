"""The command in a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

PROJECT = Path(__file__).resolve().parents[3]


class Served(NamedTuple):
    """A dashboard that answers."""

    process: subprocess.Popen
    lines: list[str]  # that it printed first

    @property
    def base(self) -> str:
        """Its URL, without a path."""
        found = re.search(r"http://127\.0\.0\.1:\d+", self.lines[0])
        assert found, self.lines
        return found.group()

    def get(self, path: str, method: str = "GET") -> tuple[int, str, bytes]:
        """Status, type and content of an answer."""
        request = urllib.request.Request(self.base + path, method=method, data=None if method == "GET" else b"{}")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers["Content-Type"], error.read()

    def json(self, path: str) -> Any:
        status, kind, content = self.get(path)
        assert (status, kind) == (200, "application/json")
        return json.loads(content)

    def end(self) -> int:
        """Its exit code after Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[Served]:
    """A dashboard of a run in the folder's runs/."""
    command = [sys.executable, "-m", "study", "dashboard", *arguments]
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, env=env, **pipes) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline().rstrip() for _ in range(2)]
            yield Served(process, lines)
        finally:
            process.kill()
