"""Ray, started on this machine or joined, and whether it has room for what a study asks for."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private import worker
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR as JOB
from ray.job_config import JobConfig

from study.machine import cpus
from study.signals import Stop, handlers_kept
from study.spec import SpecError, StudySpec
from study.spec.address import wanted
from study.spec.problems import MachineError
from study.spec.room import check_room
from study.tune import cards, machines, watch
from study.tune.join import join
from study.tune.start import start

INSTALLED = Path(__file__).resolve().parents[2]
QUIET = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
PACKAGES = ("imagesets", "models", "metrics", "searchspaces", "study")  # of which no worker needs `analysis`
FOR_PEOPLE = (  # what of them no worker needs: names of folders, and patterns of those of files
    *("__pycache__", "dashboard", "doctor", "presets"),
    *("arguments.py", "cli*.py", "card.py", "encode.py", "evaluated.py", "sample.py", "solo.py", "told.py", "*.md"),
)


class Local(JobConfig):
    """A job whose workers, on this machine, look for modules where this process does, in the same order.

    Left alone, Ray puts the current folder first, and somebody's folder `models` there would be taken for ours.
    """

    def _serialize(self) -> str:
        self._py_driver_sys_path = [os.path.abspath(path) for path in reversed(sys.path)]  # each goes before the last
        return super()._serialize()


def packages_alone(empty: str) -> dict[str, Any]:
    """What travels to the machines of a cluster: of the project's packages what trials need, nothing from beside them.

    What a job was submitted with goes to its workers in any case, and Ray takes nothing of it twice.

    Args:
        empty: a folder, to be the workers' current one; without it, Ray puts the driver's before the packages.
    """
    folders = [str(INSTALLED / name) for name in PACKAGES]
    ours: dict[str, Any] = {"working_dir": empty, "py_modules": folders, "excludes": [*FOR_PEOPLE]}
    of_the_job = json.loads(os.environ.get(JOB, "{}")).get("runtime_env") or {}
    return {key: value for key, value in ours.items() if key not in of_the_job}


@contextmanager
def ray_started(spec: StudySpec, run: Path, address: str | None, wait: bool, stop: Stop) -> Iterator[None]:
    """Ray, with room for at least one trial; shut down afterwards if it was not up before.

    Args:
        spec: of the study.
        run: the folder of its run, there already or not, on a disk that all machines must see.
        address: of a running cluster; None joins the one that RAY_ADDRESS names, which inside a job is the job's; where
            it names none, Ray is started on this machine.
        wait: for a machine with room, where the cluster has none yet.
        stop: of the command, which is ended should Ray die.

    Raises:
        SpecError: there is no room for a trial, no cluster at the address, or a machine that sees another disk, or on
            which torch does not find the GPU.
        MachineError: Ray could not be started or joined.
    """
    if ray.is_initialized():
        _check_machines(spec, run, wait, stop)
        yield
        return
    own = wanted(address) is None
    if own and wait:
        raise SpecError("--wait", ["waits for a machine of a cluster; name the cluster with --address"])
    if own:
        check_room(spec)
    try:
        _connect(address, own, stop)
        with watch.watched(stop, watch.OWN if own else watch.JOINED):
            _check_machines(spec, run, wait, stop)
            yield
    finally:
        ray.shutdown()


def _connect(address: str | None, own: bool, stop: Stop) -> None:
    # Of its own dead processes Ray would tell in dozens of lines, and of trials what the ledger writes.
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)
    worker.listen_error_messages = lambda *_: None
    try:
        with handlers_kept(), tempfile.TemporaryDirectory(prefix="latentsweep-") as empty:
            if own:
                start(stop, num_cpus=cpus(), job_config=Local(), **QUIET)
            else:
                join(address, runtime_env=packages_alone(empty), **QUIET)
    except MachineError as error:
        raise MachineError(f"{error}\ngo on with: {stop.how_to_go_on()}") from None


def _check_machines(spec: StudySpec, run: Path, wait: bool, stop: Stop) -> None:
    machines.check_room(spec, wait, stop)
    machines.check_disk(spec, run)
    cards.check(spec, stop)
