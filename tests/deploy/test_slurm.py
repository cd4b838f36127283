"""deploy/slurm.sbatch, with stand-ins for Slurm's and Ray's commands and for the study, which write what they get."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from readme import PROJECT, parsed

SCRIPT = PROJECT / "deploy" / "slurm.sbatch"
LOGS = """#!/bin/bash
printf '%s\\n' "${0##*/}|$*|${RAY_AUTH_MODE-}|${RAY_AUTH_TOKEN-}" >> "$CALLS"
"""
STANDS_IN = {
    "scontrol": '[ "$1" != show ] || printf "n1\\nn2\\nn3\\n"',
    "hostname": "echo 10.0.0.1 10.0.0.2",
    "ray": "",
    "srun": """while [ "$1" != ray ]; do shift; done; exec "$@" """,  # on one machine, for all
    "python": """
        stop() { sleep 0.2; echo "$1" >> "$CALLS"; kill $!; exit $((128 + $(kill -l "$1"))); }
        for name in TERM USR1; do trap "stop $name" $name; done
        [ -z "${LASTS-}" ] || { sleep 60 & echo ready >> "$CALLS"; wait $!; }
        exit ${CODE-0}""",
}


class Allocation:
    """Three machines, in one folder."""

    def __init__(self, folder: Path):
        self.folder, self.calls = folder, folder / "calls"
        (folder / "bin").mkdir()
        (folder / "data").mkdir()
        for name, body in STANDS_IN.items():
            (folder / "bin" / name).write_text(LOGS + body)
            (folder / "bin" / name).chmod(0o755)

    def begin(self, *arguments: str, **env: str) -> subprocess.Popen:
        """Starts the script, as the job's first machine does."""
        slurm = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "n[1-3]", "SLURM_JOB_NUM_NODES": "3"}
        ours = {"ROOT": str(self.folder / "runs"), "DATA": str(self.folder / "data"), "CALLS": str(self.calls)}
        path = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "SLURM_CPUS_PER_TASK": "4"}
        alone = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        return subprocess.Popen(["bash", SCRIPT, *arguments], env=alone | slurm | ours | path | env)

    def run(self, *arguments: str, **env: str) -> int:
        return self.begin(*arguments, **env).wait(timeout=60)

    def called(self, name: str) -> list[list[str]]:
        """Each call of a command: its arguments in one text, RAY_AUTH_MODE and the token."""
        lines = self.calls.read_text().splitlines()
        return [line.split("|")[1:] for line in lines if line.startswith(f"{name}|")]


@pytest.fixture
def slurm(tmp_path) -> Allocation:
    return Allocation(tmp_path)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def value(arguments: str, option: str) -> str:
    [found] = [each.partition("=")[2] for each in arguments.split() if each.startswith(f"{option}=")]
    return found


def test_head_and_workers_share_a_port_and_a_token(slurm):
    assert slurm.run("vsc-mnist", LASTS="", CODE="0") == 0
    until(lambda: len(slurm.called("ray")) == 2)  # workers are started beside the study, which does not wait for them
    [head] = [call for call in slurm.called("ray") if "--head" in call[0]]
    [workers] = [call for call in slurm.called("ray") if "--head" not in call[0]]
    [study], [step] = slurm.called("python"), slurm.called("srun")
    address = f"10.0.0.1:{value(head[0], '--port')}"
    assert value(head[0], "--node-ip-address") == "10.0.0.1"
    assert value(workers[0], "--address") == address
    assert f"--address {address} " in study[0] + " "
    assert {(mode, len(token)) for _, mode, token in (head, workers, study)} == {("token", 64)}
    assert len({token for _, _, token in (head, workers, study)}) == 1
    assert "--block" in workers[0]
    assert "--nodes=2 --ntasks=2 --exclude=n1 --cpus-per-task=4" in step[0]
    assert value(head[0], "--num-cpus") == value(workers[0], "--num-cpus") == "4"


def test_two_jobs_have_another_port_and_another_token(slurm):
    slurm.run("vsc-mnist", SLURM_JOB_NUM_NODES="1")
    slurm.run("vsc-mnist", SLURM_JOB_NUM_NODES="1", SLURM_JOB_ID="4712")
    one, other = slurm.called("ray")
    assert value(one[0], "--port") != value(other[0], "--port")
    assert one[2] != other[2]
    assert not slurm.called("srun")


def test_a_study_is_run_and_then_resumed(slurm):
    own = slurm.folder / "own.yaml"
    own.write_text("base: vsc-mnist\nname: another")
    given = ["--trials", "7", "--storage", "journal"]
    assert slurm.run(str(own), *given) == 0
    (slurm.folder / "runs" / "own").mkdir(parents=True)
    assert slurm.run(str(own), *given) == 0
    [begun], [gone_on] = ([arguments] for arguments, _, _ in slurm.called("python"))
    first, second = (parsed(f"python {arguments}") for arguments in (begun, gone_on))
    assert (first["preset"], first["trials"], first["storage"]) == (str(own), "7", "journal")
    assert first["root"] / "own" == Path(second["given"]) == slurm.folder / "runs" / "own"
    assert first["set_"] == ["name=own"]
    assert begun.startswith("-m study run ")
    assert gone_on.startswith("-m study resume ")


@pytest.mark.parametrize("code", [1, 2, 3])
def test_the_exit_code_is_that_of_the_study(slurm, code):
    assert slurm.run("vsc-mnist", CODE=str(code)) == code
    assert not any("requeue" in arguments for arguments, _, _ in slurm.called("scontrol"))


@pytest.mark.parametrize(("signum", "queued"), [(signal.SIGTERM, False), (signal.SIGUSR1, True)])
def test_a_signal_stops_the_study_and_that_of_the_time_limit_queues_the_job_again(slurm, signum, queued):
    job = slurm.begin("vsc-mnist", LASTS="yes")
    until(lambda: slurm.calls.exists() and "ready" in slurm.calls.read_text().split())
    job.send_signal(signum)
    assert job.wait(timeout=60) == 128 + signum
    assert signum.name.removeprefix("SIG") in slurm.calls.read_text().split()
    assert any(arguments == "requeue 4711" for arguments, _, _ in slurm.called("scontrol")) == queued
