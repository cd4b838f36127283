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

# Read by Ray when it is imported: no handler, loggers, progress tables or tracebacks of its own.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "600")

import ray
from ray.job_config import JobConfig

from study.machine import cpus
from study.signals import handlers_kept
from study.spec import SpecError, StudySpec
from study.spec.room import check_room

INSTALLED = Path(__file__).resolve().parents[2]
PACKAGES = ("imagesets", "models", "metrics", "searchspaces", "study", "analysis")


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
def ray_started(spec: StudySpec, address: str | None) -> Iterator[None]:
    """Ray, with room for at least one trial; shut down afterwards if it was not up before.

    Args:
        spec: of the study.
        address: of a running cluster, whose machines share this one's disk; None starts Ray on this machine.

    Raises:
        SpecError: there is no room for a trial.
    """
    started = not ray.is_initialized()
    try:
        if started:
            logging.getLogger("ray.tune").setLevel(logging.ERROR)
            if address is None:
                check_room(spec)
            with handlers_kept(), tempfile.TemporaryDirectory(prefix="latentsweep-") as empty:
                where: dict[str, Any]
                if address is None:
                    where = {"address": "local", "num_cpus": cpus(), "job_config": Local()}
                else:
                    where = {"address": address, "runtime_env": packages_alone(empty)}
                ray.init(**where, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        _check_room(spec)
        yield
    finally:
        if started:
            ray.shutdown()


def _check_room(spec: StudySpec) -> None:
    there = ray.cluster_resources()
    had, gpus = there.get("CPU", 0), there.get("GPU", 0)
    problems = []
    if spec.resources.gpus > gpus:
        problems.append(
            f"resources.gpus: a trial asks for {spec.resources.gpus:g} GPU, this cluster has {gpus:g}; "
            f"add --set resources.gpus=0 to run on CPUs"
        )
    if spec.resources.cpus > had:
        problems.append(f"resources.cpus: a trial asks for {spec.resources.cpus} CPUs, this cluster has {had:g}")
    if problems:
        raise SpecError(spec.name, problems)
