"""A study that cannot be lost, put to the test: its processes are killed, and what is stored is held against the truth.

    python -m benchmarks.chaos driver --storage sqlite --kills 20 --root DIR      # also: journal, postgresql
    python -m benchmarks.chaos workers --storage sqlite --kills 20 --root DIR     # the trials' own processes
    python -m benchmarks.chaos driver --mode promote --root DIR                   # of a study whose trials pause
    python -m benchmarks.chaos outage --storage postgresql --seconds 20 --root DIR
    python -m benchmarks.chaos raylet --root DIR     # of Ray's own processes; also: gcs
    python -m benchmarks.chaos machine --root DIR    # of a cluster: one is lost and comes back, then the driver is lost
    python -m benchmarks.chaos output --root DIR     # the driver's standard output is closed; also: hangup, SIGHUP

The command line runs in processes of its own; this one reads the storage beside it. Expect a line a kill, then

    20 of 20 kills hit, 5 while starting, 15 while running; 30 trials: 9 complete, 21 pruned; all as if undisturbed

in about five minutes on two cores. What is claimed, after every kill: a finished trial stays as it was to the last
attribute; a running one keeps its reports; ASHA's rungs in the dead driver's memory, in the storage and in the next
driver's memory are the same, and who pauses in the storage, pauses in that memory. In the end: every number once, none
RUNNING or FAIL, every curve equal to that of an undisturbed training, and every decision that of the rule in the order
of the stored reports. Exit 1 at the first claim that does not hold.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

from optuna.trial import TrialState

import imagesets
from benchmarks import hits, postgres
from benchmarks.attacked import STORAGES, Study, ViolatedError, claim
from benchmarks.cluster import cluster
from study.spec.halving import RULES

ATTACKS = ("driver", "workers", "outage", "raylet", "gcs", "machine", "output", "hangup")


class Summary(NamedTuple):
    """What befell a study, and what became of it."""

    hits: list[str]  # what each kill hit
    complete: int
    pruned: int
    seconds: float

    def __str__(self) -> str:
        where = ", ".join(f"{self.hits.count(hit)} {hit}" for hit in dict.fromkeys(self.hits))
        return (
            f"{len(self.hits)} kills hit: {where}; {self.complete + self.pruned} trials: {self.complete} complete, "
            f"{self.pruned} pruned; all as if undisturbed; {self.seconds:.0f} s"
        )


@contextmanager
def _study(root: Path, storage: str, trials: int, mode: str, on_cluster: bool) -> Iterator[Study]:
    """A study in an empty folder; what its drivers leave behind is ended."""
    claim(storage in STORAGES, f"storage {storage!r} is not known; known: {', '.join(STORAGES)}")
    imagesets.load("mnist5k")  # made once, before two processes want it
    with (
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as ray,
        postgres.server() if storage == "postgresql" else nullcontext() as server,
        cluster() if on_cluster else nullcontext() as joined,
    ):
        study = Study(root, Path(ray), storage, trials, server, joined, mode)
        try:
            yield study
        finally:
            for pid in study.processes(""):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def attack(
    what: str,
    root: Path,
    *,
    storage: str = "sqlite",
    kills: int = 20,
    trials: int = 30,
    mode: str = "stop",
    seconds: float = 20,
    seed: int = 0,
) -> Summary:
    """Attacks a study, and goes on with it to its end.

    Args:
        what: one of ATTACKS.
        root: a folder without a run of this storage.
        storage: one of STORAGES.
        kills: of drivers or workers.
        trials: of the study.
        mode: of its ASHA: stop or promote.
        seconds: of the outage.
        seed: of when and where it is hit.

    Raises:
        ViolatedError: a claim does not hold.
        PostgresError: PostgreSQL is not installed.
    """
    started, dice = time.monotonic(), random.Random(seed)
    claim(what != "outage" or storage == "postgresql", "only a server can be out: --storage postgresql")
    with _study(root, storage, trials, mode, on_cluster=what == "machine") as study:
        hit: dict[str, Callable[[], list[str]]] = {
            "driver": lambda: hits.kill_drivers(study, kills, dice),
            "workers": lambda: hits.kill_workers(study, kills, dice),
            "outage": lambda: hits.stop_the_server(study, seconds),
            "raylet": lambda: hits.kill_ray(study, "raylet/raylet"),
            "gcs": lambda: hits.kill_ray(study, "gcs/gcs_server"),
            "machine": lambda: hits.lose_machines(study),
            "output": lambda: hits.close_output(study),
            "hangup": lambda: hits.hang_up(study),
        }
        where = hit[what]()
        states = [trial.state for trial in study.seen]
    complete, pruned = (states.count(state) for state in (TrialState.COMPLETE, TrialState.PRUNED))
    return Summary(where, complete, pruned, time.monotonic() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=ATTACKS)
    parser.add_argument("--storage", choices=STORAGES, default="sqlite")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--mode", choices=RULES, default="stop", help="of ASHA")
    parser.add_argument("--seconds", type=float, default=20, help="of the outage")
    parser.add_argument("--root", type=Path, required=True, help="a new folder, for the run and the logs")
    parser.add_argument("--seed", type=int, default=0)
    given = vars(parser.parse_args())
    try:
        print(attack(given.pop("what"), given.pop("root"), **given))
    except (ViolatedError, postgres.PostgresError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
