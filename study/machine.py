"""What this machine has for a trial: CPUs, memory, GPUs and a compiler."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

CONTROL = Path("/sys/fs/cgroup")


def cpus(quota: Path = CONTROL / "cpu.max") -> int:
    """CPUs that this process has: those it may run on, or as many as its container has the time of, if that is less.

    Args:
        quota: the file in which Linux says how many microseconds of each period the container has, or "max".
    """
    there = len(os.sched_getaffinity(0))
    try:
        granted, period = quota.read_text().split()
        return max(1, min(there, int(granted) // int(period)))
    except (OSError, ValueError):  # no container, or one without a limit
        return there


def memory(limit: Path = CONTROL / "memory.max") -> int:
    """Bytes of memory that this process may have: the machine's, or its container's, if that is less.

    Args:
        limit: the file in which Linux says how many bytes the container may have, or "max".
    """
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):
        there = min(there, int(limit.read_text()))
    return there


def cpp_compiler() -> str | None:
    """The C++ compiler by which torch compiles for CPUs, None where it finds none."""
    from torch._inductor import cpp_builder, exc

    try:
        return cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler:
        return None


def gpus() -> int:
    """GPUs that torch finds."""
    import torch

    return torch.cuda.device_count()
