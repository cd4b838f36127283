"""A PostgreSQL server of one's own: a temporary cluster on a free loopback port, with a password that is asked for.

    with postgres.server() as server:
        optuna.create_study(storage=server.url)
        server.stop()
        server.start()

The binaries are those on PATH, or Debian's. PostgreSQL refuses to run as root, who lends it the system user `postgres`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

USER, DATABASE = "studies", "postgres"  # the second is in every new cluster
SYSTEM_USER = "postgres"
INSTALL = "there is no PostgreSQL on this machine; on Debian: apt-get install --no-install-recommends postgresql"


class PostgresError(Exception):
    """PostgreSQL is not installed, or does not start."""


def binaries() -> Path | None:
    """The folder of the newest server's binaries; None where there is no server."""
    on_path = shutil.which("postgres")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name), reverse=True
    )
    return next((f for f in folders if (f / "postgres").is_file() and (f / "initdb").is_file()), None)


class Server:
    """A cluster in a folder. `start` and `stop` may be called in turn; what is stored stays.

    Args:
        folder: empty, and the system user's where this process is root.
    """

    def __init__(self, folder: Path):
        found = binaries()
        if found is None:
            raise PostgresError(INSTALL)
        self.binaries, self.folder, self.log = found, folder, folder / "log"
        self.password, self.port = secrets.token_hex(16), free_port()
        self.url = f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"
        self.process: subprocess.Popen | None = None
        self._init()

    def _init(self) -> None:
        secret = self.folder / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)  # in a folder that only its owner may enter
        options = [f"--username={USER}", f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        command = [str(self.binaries / "initdb"), "--pgdata", str(self.folder / "data"), "--no-sync", *options]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, **_as_system_user())
        if done.returncode:
            raise PostgresError(f"initdb failed: {done.stderr.strip()}")
        secret.unlink()

    def start(self, seconds: float = 60) -> None:
        """Starts the server and waits until it answers."""
        command = [str(self.binaries / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        command += ["-h", "127.0.0.1", "-k", str(self.folder)]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **_as_system_user())
        ready = [str(self.binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        end = time.monotonic() + seconds
        while subprocess.run(ready).returncode:
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise PostgresError(f"the server does not start: {self.log.read_text().strip()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stops the server at once: connections are cut, what was committed stays."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)  # PostgreSQL's "fast" shutdown
            self.process.wait(60)
            self.process = None


@contextmanager
def server() -> Iterator[Server]:
    """A server that is up inside the context, and gone after it with all that it stored.

    Raises:
        PostgresError: PostgreSQL is not installed, or does not start.
    """
    with tempfile.TemporaryDirectory(prefix="postgres", ignore_cleanup_errors=True) as path:
        if os.geteuid() == 0 and binaries() is not None:
            shutil.chown(path, SYSTEM_USER, SYSTEM_USER)
        made = Server(Path(path))
        try:
            made.start()
            yield made
        finally:
            made.stop()


def _as_system_user() -> dict[str, Any]:
    return {"user": SYSTEM_USER, "group": SYSTEM_USER, "extra_groups": []} if os.geteuid() == 0 else {}


def free_port() -> int:
    """A port of this machine that nothing listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
