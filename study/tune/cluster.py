"""Ray, started on this machine or joined, and whether it has room for what a study asks for."""

from __future__ import annotations

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
from ray.job_config import JobConfig

from study.machine import cpus
from study.signals import Stop, handlers_kept
from study.spec import SpecError, StudySpec
from study.spec.problems import MachineError
from study.spec.room import check_room, lacking
from study.tune import watch
from study.tune.join import join
from study.tune.start import start

INSTALLED = Path(__file__).resolve().parents[2]
QUIET = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
PACKAGES = ("imagesets", "models", "metrics", "searchspaces", "study")  # of which no worker needs `analysis`


class Local(JobConfig):
    """A job whose workers, on this machine, look for modules where this process does, in the same order.

    Left alone, Ray puts the current folder first, and somebody's folder `models` there would be taken for ours.
    """

    def _serialize(self) -> str:
        self._py_driver_sys_path = [os.path.abspath(path) for path in reversed(sys.path)]  # each goes before the last
        return super()._serialize()


def packages_alone(empty: str) -> dict[str, Any]:
    """What travels to the machines of a cluster: the project's packages, and nothing that lies beside them.

    Args:
        empty: a folder, to be the workers' current one; without it, Ray puts the driver's before the packages.
    """
    folders = [str(INSTALLED / name) for name in PACKAGES]
    return {"working_dir": empty, "py_modules": folders, "excludes": ["__pycache__"]}


@contextmanager
def ray_started(spec: StudySpec, address: str | None, stop: Stop) -> Iterator[None]:
    """Ray, with room for at least one trial; shut down afterwards if it was not up before.

    Args:
        spec: of the study.
        address: of a running cluster, whose machines share this one's disk; None starts Ray on this machine.
        stop: of the command, which is ended should Ray die.

    Raises:
        SpecError: there is no room for a trial, or no cluster at the address.
        MachineError: Ray could not be started or joined.
    """
    if ray.is_initialized():
        _check_room(spec)
        yield
        return
    if address is None:
        check_room(spec)
    try:
        _connect(address, stop)
        _check_room(spec)
        with watch.watched(stop, watch.OWN if address is None else watch.JOINED):
            yield
    finally:
        ray.shutdown()


def _connect(address: str | None, stop: Stop) -> None:
    # Of its own dead processes Ray would tell in dozens of lines, and of trials what the ledger writes.
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)
    worker.listen_error_messages = lambda *_: None
    try:
        with handlers_kept(), tempfile.TemporaryDirectory(prefix="latentsweep-") as empty:
            if address is None:
                start(stop, num_cpus=cpus(), job_config=Local(), **QUIET)
            else:
                join(address, runtime_env=packages_alone(empty), **QUIET)
    except MachineError as error:
        raise MachineError(f"{error}\ngo on with: {stop.how_to_go_on()}") from None


def _check_room(spec: StudySpec) -> None:
    there = ray.cluster_resources()
    if problems := lacking(spec, "this cluster", there.get("CPU", 0), there.get("GPU", 0)):
        raise SpecError(spec.name, problems)
