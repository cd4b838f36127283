"""Ray, started on this machine or joined, and whether it has room for what a study asks for."""

from __future__ import annotations

import logging
import os
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

from study.signals import handlers_kept
from study.spec import SpecError, StudySpec

PROJECT = Path(__file__).resolve().parents[2]


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
    if started:
        logging.getLogger("ray.tune").setLevel(logging.ERROR)
        options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
        if address is None:
            paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
            os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # for the workers, from whichever folder this is called
            options |= {"address": "local", "num_cpus": len(os.sched_getaffinity(0))}
        else:
            excludes = ["/runs", "/data", "/.venv", "/.git"]
            options |= {"address": address, "runtime_env": {"working_dir": str(PROJECT), "excludes": excludes}}
    try:
        if started:
            with handlers_kept():
                ray.init(**options)
        _check_room(spec)
        yield
    finally:
        if started:
            ray.shutdown()


def _check_room(spec: StudySpec) -> None:
    there = ray.cluster_resources()
    cpus, gpus = there.get("CPU", 0), there.get("GPU", 0)
    problems = []
    if spec.resources.gpus > gpus:
        problems.append(
            f"resources.gpus: a trial asks for {spec.resources.gpus:g} GPU, this cluster has {gpus:g}; "
            f"add --set resources.gpus=0 to run on CPUs"
        )
    if spec.resources.cpus > cpus:
        problems.append(f"resources.cpus: a trial asks for {spec.resources.cpus} CPUs, this cluster has {cpus:g}")
    if problems:
        raise SpecError(spec.name, problems)
