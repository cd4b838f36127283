"""The cards of a cluster before the first trial: whether torch finds them, and how many trials go on one."""

from __future__ import annotations

import time
from typing import Any

import ray

import imagesets
from study.record import packed
from study.record.folder import OpenRun
from study.record.packed import Packed
from study.signals import Stop
from study.spec import SpecError, StudySpec
from study.spec.problems import MachineError
from study.spec.room import has_room, largest
from study.trial import arithmetic, cards
from study.trial.cards import Look
from study.trial.trial import load_data
from study.tune.machines import Node, alive, has, name, on
from study.tune.start import said

PATIENCE = 30.0  # seconds that a card of a busy cluster is waited for, to be looked at; its trials look themselves


def check(spec: StudySpec, stop: Stop) -> list[tuple[Node, Look]]:
    """Has a process on each machine that gives trials a GPU look at the one that it gets.

    Args:
        spec: of the study.
        stop: of the command; a signal ends the wait.

    Returns:
        Each machine that has answered, with its card; none where trials are on CPUs.

    Raises:
        SpecError: torch finds no card there, or one that does not compute in the specification's precision.
        MachineError: a machine cannot run our code.
    """
    wanted = spec.resources.gpus
    nodes = [node for node in alive() if wanted and has(node).gpus and has_room(spec, has(node))]
    share = min(1.0, spec.resources.least_gpus or 1.0 / packed.MOST)
    looks = [_task(cards.look, node, share).remote(spec.precision) for node in nodes]
    end = time.monotonic() + PATIENCE
    while len(ray.wait(looks, num_returns=len(looks), timeout=0.5)[0] if looks else []) < len(looks):
        stop.leave_if_asked()
        if time.monotonic() > end:
            break
    found, problems = [], []
    for node, look in zip(nodes, looks):
        if not ray.wait([look], timeout=0)[0]:
            ray.cancel(look, force=True)
            continue
        seen = _got(look, node)
        found.append((node, seen))
        if seen.obstacle:
            problems.append(f"{name(node)}: {seen.obstacle}")
    if problems:
        raise SpecError(spec.name, problems)
    return found


def measured(spec: StudySpec, data: str | None, stop: Stop) -> Packed | None:
    """How trials share a card, measured on the smallest one, which is waited for; None where the preset says it.

    Raises:
        SpecError, MachineError: as for `check`; SpecError too where there is no card for the specification's precision.
        DataError: the data set is not there.
    """
    if spec.resources.gpus != "auto":
        return None
    found = check(spec, stop)
    if not found:
        if any(has(node).gpus for node in alive()):
            raise SpecError(spec.name, ["resources.gpus: auto needs a card to measure on, and none is free; try later"])
        if spec.precision == "tf32":
            raise SpecError(spec.name, ["precision: tf32 is of GPUs, and there is none; take full, or bf16"])
        return Packed(0.0)
    node, card = min(found, key=lambda each: each[1].memory)
    task = _task(_peak, node, 1.0).remote(spec, str(imagesets.data_root(data)))
    print(f"measures what a trial takes of a card, on {name(node)}", flush=True)
    while not ray.wait([task], timeout=0.5)[0]:
        stop.leave_if_asked()
    return packed.packed(_got(task, node), card.memory, card.name)


def placed(opened: OpenRun, data: str | None, stop: Stop, found: Packed | None = None) -> StudySpec:
    """The specification of a run with the GPUs of a trial as a number; what was measured is kept, and printed.

    Args:
        opened: the run, held by this process.
        data, stop: as for `measured`.
        found: what was measured already.
    """
    before = packed.kept(opened)
    now = before or found or measured(opened.spec, data, stop)
    if now is not None:
        if now != before:
            packed.keep(opened, now)
        print(now.told(), flush=True)
    return packed.as_packed(opened.spec, now)


def _peak(spec: StudySpec, data: str) -> int:
    """Bytes that the defaults or the largest configuration take, whichever are more."""
    configurations = [spec.defaults(), largest(spec)]
    arithmetic.prepare(spec.deterministic)
    return max(cards.peak(spec, configuration, load_data(spec, data)) for configuration in configurations)


def _task(function: Any, node: Node, gpus: float) -> Any:
    return ray.remote(num_cpus=0, num_gpus=gpus)(function).options(scheduling_strategy=on(node))


def _got(task: ray.ObjectRef, node: Node) -> Any:
    try:
        return ray.get(task)
    except ray.exceptions.RayError as error:
        raise MachineError(f"{name(node)}, a machine of the cluster, cannot run this code: {said(error)}") from None
