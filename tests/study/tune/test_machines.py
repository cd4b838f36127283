"""A cluster of several machines, processes here: whether a trial has room on one, and a disk that all of them share."""

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import analysis
from benchmarks import cluster, undisturbed
from study.record.folder import Run
from study.record.storage import open_run
from study.signals import Stop
from study.spec import SpecError, StudySpec
from study.spec.problems import MachineError
from study.spec.room import Has, lacking
from study.tune import machines

pytestmark = pytest.mark.alone

PROJECT = Path(__file__).resolve().parents[3]


# Without Ray.


@pytest.mark.parametrize(
    ("cpus", "gpus", "there", "problems"),
    [
        (2, 0.25, [Has(1, 0), Has(2, 1)], []),
        (3, 0, [Has(2, 0), Has(2, 0)], ["resources.cpus: a trial asks for 3 CPUs, this cluster has 2 on a machine"]),
        (
            2,
            1,
            [Has(2, 0), Has(1, 1)],
            ["resources: a trial asks for 2 CPUs and 1 GPU, this cluster has no machine with both"],
        ),
        (
            3,
            0.5,
            [Has(2, 0)],
            [
                "resources.cpus: a trial asks for 3 CPUs, this cluster has 2",
                "resources.gpus: a trial asks for 0.5 GPUs, this cluster has none; "
                "add --set resources.gpus=0 to run on CPUs",
            ],
        ),
    ],
)
def test_a_trial_has_room_on_one_machine(raw, cpus, gpus, there, problems):
    assert lacking(StudySpec(**raw(resources={"cpus": cpus, "gpus": gpus})), "this cluster", there) == problems


def test_a_card_to_measure_on_is_not_waited_for(raw, monkeypatch):
    monkeypatch.setattr(machines, "alive", lambda: [{"Resources": {"CPU": 4}}])
    spec = StudySpec(**raw(resources={"gpus": "auto"}))
    machines.check_room(spec, wait=False, stop=Stop())
    with pytest.raises(SpecError, match="auto measures on a card that is there, and this cluster has none yet"):
        machines.check_room(spec, wait=True, stop=Stop())


def test_a_file_as_another_machine_sees_it(tmp_path, monkeypatch):
    file = tmp_path / "file"
    assert (
        machines._look(str(file), "a")
        == f"does not see what this machine writes to {tmp_path} (No such file or directory)"
    )
    file.write_text("a")
    assert machines._look(str(file), "a") == ""
    assert machines._look(str(file), "b") == f"sees another {tmp_path} than this machine"
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    assert machines._look(str(file), "a") == f"may not write to {tmp_path}"


def test_a_machine_that_cannot_run_the_code_is_named_and_one_that_has_gone_is_not(monkeypatch):
    node = {"NodeID": "1f", "NodeManagerHostname": "one", "NodeManagerAddress": "10.0.0.2"}

    def get(_):
        raise machines.ray.exceptions.RuntimeEnvSetupError("no space left for the packages")

    monkeypatch.setattr(machines.ray, "get", get)
    monkeypatch.setattr(machines, "alive", lambda: [node])
    with pytest.raises(
        MachineError,
        match=r"^one \(10\.0\.0\.2\), a machine of the cluster, cannot run this code: Failed to set up runtime",
    ):
        machines._answers([node], [None])
    monkeypatch.setattr(machines, "alive", list)
    assert machines._answers([node], [None]) == []


def test_what_is_waited_for_is_a_cluster_s(ray_down, command, preset, tmp_path):
    code, _, err = command("run", preset(tmp_path), "--root", tmp_path / "runs", "--wait")
    assert (code, err) == (2, "--wait: waits for a machine of a cluster; name the cluster with --address\n")
    assert not (tmp_path / "runs").exists()


# With it.


@pytest.fixture(scope="module")
def there() -> Iterator[cluster.Cluster]:
    """A cluster of two machines, each with room for one trial of one CPU."""
    with cluster.cluster() as made:
        for machine in [made.add(), made.add()]:
            machine.wait()
        yield made


class Driver:
    """A command line in a process of its own."""

    def __init__(self, folder: Path, *arguments: str | Path, **env: str):
        self.log = folder / f"{time.monotonic()}.log"
        command = [sys.executable, "-m", "study", *map(str, arguments)]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                command, cwd=PROJECT, env=os.environ | env, stdout=log, stderr=log, start_new_session=True
            )

    def wait_for(self, text: str) -> None:
        self.wait_until(lambda: text in self.log.read_text())

    def wait_until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)

    def ended(self) -> tuple[int, str]:
        code = self.process.wait(180)
        return code, self.log.read_text()


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., Driver]]:
    """Starts drivers, of which none outlives the test."""
    started = []

    def begin(*arguments: str | Path, **env: str) -> Driver:
        started.append(Driver(tmp_path, *arguments, **env))
        return started[-1]

    yield begin
    for driver in started:
        if driver.process.poll() is None:
            os.killpg(driver.process.pid, signal.SIGKILL)
            driver.process.wait()


def check_whole(run: Run, spec: StudySpec) -> None:
    """Every trial once, each complete, with the curve of a training that nothing interrupts."""
    trials = open_run(run).study.get_trials()
    assert [(trial.number, trial.state.name) for trial in trials] == [(n, "COMPLETE") for n in range(spec.trials)]
    for trial in trials:
        assert undisturbed.differences(spec, trial) == []


@contextmanager
def added(there: cluster.Cluster, *options: str, within: list[str]) -> Iterator[cluster.Machine]:
    machine = there.add(*options, within=within)
    try:
        machine.wait()
        yield machine
    finally:
        machine.leave()  # a test that comes next is not to send trials there


@pytest.mark.long
@pytest.mark.parametrize("own", [False, True], ids=["one cluster", "a Ray of each one's own"])
def test_two_studies_at_once_do_not_meet(ray_down, request, start, raw, preset, tmp_path, own, ray_folder):
    """And none of them leaves, on the machines of a cluster, what it knows of its storage."""
    given = ["--address", "local"]
    secret, env = "a-secret-of-the-driver", {}
    with ray_folder() as folder:
        if not own:
            there = request.getfixturevalue("there")
            given, env = ["--address", there.address], there.token
        drivers = {}
        for name, seed in (("one", 1), ("two", 2)):
            (tmp_path / name).mkdir()
            changes = {"name": name, "seed": seed, "trials": 2, "asha": None}
            path = preset(tmp_path / name, **changes)
            arguments = ["run", path, "--root", tmp_path / "runs", *given]
            drivers[name] = StudySpec(**raw(**changes)), start(*arguments, **env, PGPASSWORD=secret)
        if not own:
            drivers["one"][1].wait_for("joined the Ray cluster")
            while drivers["one"][1].process.poll() is None and not any(one.at_work() for one in there.machines):
                time.sleep(0.05)
            for pid in [pid for machine in there.machines for pid in machine.processes()]:
                assert secret.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        for name, (spec, driver) in drivers.items():
            code, said = driver.ended()
            assert code == 0, said
            assert f"runs/{name}" in said
            check_whole(Run(tmp_path / "runs" / name), spec)
        where = there.folder if not own else folder.path
        kept = [file for file in where.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()]
        assert kept == []


@pytest.fixture
def mounts() -> None:
    """A mount namespace of one's own, which takes root, and more in some containers."""
    tried = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    if shutil.which("unshare") is None or subprocess.run(tried, capture_output=True).returncode:
        pytest.skip("this user, or this container, may mount nothing")


@pytest.mark.long
@pytest.mark.usefixtures("mounts")
def test_a_machine_that_sees_another_disk_is_found_before_the_first_trial(there, start, preset, tmp_path):
    (tmp_path / "shared").mkdir()
    elsewhere = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(tmp_path / "shared")]
    arguments = ["run", preset(tmp_path), "--root", tmp_path / "shared" / "runs", "--address", there.address]
    with added(there, within=elsewhere):
        code, said = start(*arguments, **there.token).ended()
        assert code == 2, said
        (line,) = [line for line in said.splitlines() if line.startswith("--root: ")]
        what = f"does not see what this machine writes to {tmp_path / 'shared'} (No such file or directory)"
        assert f"(127.0.0.{len(there.machines)}) {what}; the run must lie on a disk that all machines share" in line
        assert list((tmp_path / "shared").iterdir()) == []


@pytest.mark.long
@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize("how", [("run",), ("seeds", "--seeds", "4")], ids=["search", "confirmation"])
def test_a_machine_that_comes_late_and_sees_another_disk_halts_what_goes_on(there, start, raw, preset, tmp_path, how):
    """It is free, so the next training is sent there; none is lost."""
    (tmp_path / "shared").mkdir()
    elsewhere = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(tmp_path / "shared")]
    steps = 16_000 if how[0] == "run" else 6000  # a search that ends before the machine has come proves nothing
    changes = {"trials": 4, "asha": None, "budget": {"steps": steps, "report_every": 1000}}
    first, *options = how
    run, given = Run(tmp_path / "shared" / ("tiny" if first == "run" else "tiny-seeds")), ["--address", there.address]
    driver = start(first, preset(tmp_path, **changes), *options, "--root", run.path.parent, *given, **there.token)
    driver.wait_until(run.study_yaml.is_file)
    with added(there, within=elsewhere):
        code, said = driver.ended()
    assert code == 1, said
    what = f"{platform.node()} does not see {run.path}, where the run lies; mount it there, or take the machine"
    assert what in said
    assert "Traceback" not in said
    again = "resume" if first == "run" else "confirm"
    assert f"python -m study {again} {run.path}" in said
    code, said = start(again, run.path, *given, **there.token).ended()
    assert code == 0, said
    if first == "run":
        check_whole(run, StudySpec(**raw(**changes)))
    else:
        rows = analysis.confirmed(run.path)
        assert (sorted(rows["repeat"]), set(rows["cause"])) == ([0, 1, 2, 3], {""})


@pytest.mark.long
def test_a_study_whose_head_dies_goes_on_in_another_cluster(ray_down, start, raw, preset, tmp_path):
    changes = {"trials": 4, "asha": None, "budget": {"steps": 2000, "report_every": 500}}
    run = Run(tmp_path / "runs" / "tiny")
    with cluster.cluster() as lost:
        lost.add().wait()
        path = preset(tmp_path, **changes)
        driver = start("run", path, "--root", run.path.parent, "--address", lost.address, **lost.token)
        driver.wait_for("trial 0 ")
        lost.machines[0].kill()
        died = time.monotonic()
        code, said = driver.ended()
        print(f"the driver ended {time.monotonic() - died:.1f} s after the head")
    assert code == 1, said
    *_, why, how = said.splitlines()
    assert re.fullmatch(r"Ray has died: its (gcs|raylet) at \S+ is gone; did the machine run out of memory\?", why)
    assert how == f"go on with: python -m study resume {run.path} --address {lost.address}"  # or another cluster's
    assert "Traceback" not in said
    before = {trial.number: trial.state.name for trial in open_run(run).study.get_trials()}
    assert set(before.values()) == {"COMPLETE", "RUNNING"}
    with cluster.cluster() as other:
        assert other.address != lost.address
        other.add().wait()
        code, said = start("resume", run.path, "--address", other.address, **other.token).ended()
    assert code == 0, said
    check_whole(run, StudySpec(**raw(**changes)))


@pytest.mark.long
def test_more_than_the_cluster_has_is_a_line_or_waited_for(there, start, raw, preset, tmp_path):
    """Two machines of one CPU are none of two."""
    changes = {"resources": {"cpus": 2}, "trials": 1, "asha": None}
    arguments = ["run", preset(tmp_path, **changes), "--root", tmp_path / "runs", "--address", there.address]
    asked = "resources.cpus: a trial asks for 2 CPUs, this cluster has 1 on a machine"
    code, said = start(*arguments, **there.token).ended()
    assert (code, said.splitlines()[-1]) == (2, f"tiny: {asked}; --wait waits for a machine that has it")

    interrupted, waiting = (start(*arguments, "--wait", **there.token) for _ in range(2))
    interrupted.wait_for(f"waiting for a machine: {asked}\n")
    interrupted.process.send_signal(signal.SIGINT)
    code, said = interrupted.ended()
    assert code == 130, said
    assert said.endswith("stopping; go on with: the same command, nothing is written\n")
    assert not (tmp_path / "runs").exists()

    waiting.wait_for("waiting for a machine")
    with added(there, "--num-cpus=2", within=[]):
        code, said = waiting.ended()
    assert code == 0, said
    check_whole(Run(tmp_path / "runs" / "tiny"), StudySpec(**raw(**changes)))
