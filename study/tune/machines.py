"""The machines of a cluster before the first trial: whether one has room for it, and whether all see the run's disk."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from study.signals import Stop
from study.spec import SpecError, StudySpec
from study.spec.problems import MachineError
from study.spec.room import Has, has_room, lacking
from study.tune.start import said

Node = dict[str, Any]  # a machine as `ray.nodes` describes it


def alive() -> list[Node]:
    """The machines that the cluster has now."""
    return [node for node in ray.nodes() if node["Alive"]]


def check_room(spec: StudySpec, wait: bool, stop: Stop) -> None:
    """Has a machine with room for a trial, or waits for one: for the task that it waits for, a cluster may grow.

    Args:
        spec: of the study.
        wait: for a machine that is to come.
        stop: of the command; a signal ends the wait.

    Raises:
        SpecError: no machine has room, and none is waited for; or a card is, by a study that measures on one.
    """
    there = [has(node) for node in alive()]
    if wait and spec.resources.gpus == "auto" and not any(machine.gpus for machine in there):
        none = "resources.gpus: auto measures on a card that is there, and this cluster has none yet"
        raise SpecError(spec.name, [f"{none}; with --wait give a number"])
    problems = lacking(spec, "this cluster", there)
    if problems and not wait:
        raise SpecError(spec.name, [f"{problem}; --wait waits for a machine that has it" for problem in problems])
    if problems:
        print("\n".join(f"waiting for a machine: {problem}" for problem in problems), flush=True)
        asked = ray.remote(num_cpus=spec.resources.cpus, num_gpus=spec.resources.least_gpus)(lambda: None).remote()
        while not ray.wait([asked], timeout=0.5)[0]:
            stop.leave_if_asked()
        ray.get(asked)


def check_disk(spec: StudySpec, run: Path) -> None:
    """Has each machine that trials may go to read a file that this process writes where the run lies.

    Args:
        spec: of the study.
        run: the folder of its run, there already or not.

    Raises:
        SpecError: a machine sees another disk there, or may not write to it.
        MachineError: a machine cannot run our code.
    """
    here = ray.get_runtime_context().get_node_id()
    others = [node for node in alive() if node["NodeID"] != here and has_room(spec, has(node))]
    if not others:
        return
    folder = next(folder for folder in (run, *run.parents) if folder.is_dir())
    text = secrets.token_hex(16)
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".latentsweep-") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        looks = [ray.remote(num_cpus=0)(_look).options(scheduling_strategy=on(node)) for node in others]
        problems = _answers(others, [look.remote(file.name, text) for look in looks])
    if problems:
        remedy = "the run must lie on a disk that all machines share; name a folder there with --root"
        raise SpecError("--root", [f"{problem}; {remedy}" for problem in problems])


def _look(file: str, text: str) -> str:
    """What is wrong with a file and its folder, as seen from here; empty where nothing is."""
    folder = Path(file).parent
    try:
        if Path(file).read_text() != text:
            return f"sees another {folder} than this machine"
    except OSError as error:
        return f"does not see what this machine writes to {folder} ({error.strerror})"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"may not write to {folder}"


def _answers(nodes: Sequence[Node], looks: Sequence[ray.ObjectRef]) -> list[str]:
    found = []
    for node, look in zip(nodes, looks):
        try:
            if problem := ray.get(look):
                found.append(f"{name(node)} {problem}")
        except ray.exceptions.RayError as error:
            if node["NodeID"] in [there["NodeID"] for there in alive()]:  # else it went in the meantime
                raise MachineError(
                    f"{name(node)}, a machine of the cluster, cannot run this code: {said(error)}"
                ) from None
    return found


def name(node: Node) -> str:
    """A machine's, for people."""
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def has(node: Node) -> Has:
    """What it has for trials."""
    return Has(node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0))


def on(node: Node) -> NodeAffinitySchedulingStrategy:
    """There and nowhere else."""
    return NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
