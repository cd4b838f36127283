"""A Ray cluster within this machine: a head without CPUs for trials, and machines that are no more than processes, each
with an address, resources and folders of its own. It asks for a token, and is stopped by nobody but the context's end.

    with cluster.cluster() as there:
        machine = there.add()
        subprocess.run([..., "--address", there.address], env=os.environ | there.token)
        machine.kill()
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.postgres import free_port

SECONDS = 120.0  # that the start of a part may take
STARTED = "Ray runtime started."
PORTS = ("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0")  # whichever are free


class ClusterError(Exception):
    """A part of a cluster does not start."""


class Machine:
    """A machine of a cluster: all processes of one session.

    Args:
        folder: of its own, for its log and what Ray keeps.
        options: of `ray start`.
        env: the variables of its processes, those of its trials too.
        within: a command that starts the rest of its line, in another mount namespace for instance.
    """

    def __init__(self, folder: Path, options: Sequence[str], env: dict[str, str], within: Sequence[str] = ()):
        folder.mkdir()
        self.folder, self.log = folder, folder / "log"
        command = [*within, sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        command += [*options, *PORTS, f"--temp-dir={folder}", "--object-store-memory=100000000"]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def wait(self) -> None:
        """Waits until it has joined its cluster."""
        self.wait_for(lambda: STARTED in self.log.read_text())

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Waits for what its start brings about."""
        end = time.monotonic() + SECONDS
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                raise ClusterError(f"a machine does not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.1)

    def processes(self) -> dict[int, str]:
        """Those of the machine: id -> command line, which Ray lets say what runs there."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
                if state != "Z" and int(session) == self.process.pid:
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        return found

    def at_work(self) -> bool:
        """Whether a process for trials runs there."""
        return any("Trainable" in line for line in self.processes().values())

    def leave(self) -> None:
        """Ends it as `ray stop` does: its cluster knows at once, and sends nothing there any more."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.kill()

    def kill(self) -> None:
        """Ends all of it by SIGKILL, as a power cut does."""
        while there := self.processes():
            for pid in there:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.poll()
            time.sleep(0.05)
        self.process.wait()


class Cluster:
    """A head, and the machines that are added to it.

    Args:
        folder: of a short path, empty.
        jobs: whether it takes jobs, for which `ray[default]` must be installed.

    Attributes:
        token: variables without which nobody joins.
        address: HOST:PORT of the head.
        board: where jobs are submitted, if they are taken.
    """

    def __init__(self, folder: Path, jobs: bool):
        self.folder = folder
        self.token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        hidden = ("PYTHONPATH", "RAY_ADDRESS", "RAY_TMPDIR")  # what runs on a machine knows of the project what travels
        self._env = {key: value for key, value in os.environ.items() if key not in hidden} | self.token
        self._env["RAY_JOB_STOP_WAIT_TIME_S"] = "60"  # a soft stop may take longer here than Ray's 3 seconds
        port = free_port()
        self.board = f"http://127.0.0.1:{port}" if jobs else None
        self._options = (
            ["--include-dashboard=true", f"--dashboard-port={port}"] if jobs else ["--include-dashboard=false"]
        )
        self.machines: list[Machine] = []
        self.address = ""

    def begin(self) -> None:
        """Starts the head, which runs no trials."""
        options = ["--head", f"--port={free_port()}", "--num-cpus=0", *self._options]
        head = Machine(self.folder / "head", options, self._env)
        self.machines.append(head)
        named = head.folder / "ray_current_cluster"  # written after Ray has said that it has started
        head.wait_for(lambda: named.is_file() and named.read_text())
        self.address = named.read_text().strip()

    def add(self, *options: str, within: Sequence[str] = ()) -> Machine:
        """Starts a machine of one CPU, if the options of `ray start` do not say otherwise; `Machine.wait` waits for it.

        Its address is 127.0.0.2 for the first, and so on.
        """
        number = len(self.machines) + 1
        given = [f"--address={self.address}", f"--node-ip-address=127.0.0.{number}", *(options or ["--num-cpus=1"])]
        self.machines.append(Machine(self.folder / str(number), given, self._env, within))
        return self.machines[-1]


@contextmanager
def cluster(jobs: bool = False) -> Iterator[Cluster]:
    """A cluster with its head alone, and nothing of it left after the context.

    Args:
        jobs: as for `Cluster`.

    Raises:
        ClusterError: its head does not start.
    """
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as path:
        made = Cluster(Path(path), jobs)
        try:
            made.begin()
            yield made
        finally:
            for machine in reversed(made.machines):
                machine.kill()
