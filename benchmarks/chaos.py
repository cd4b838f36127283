"""A study that cannot be lost, put to the test: its processes are killed, and what is stored is held against the truth.

    python -m benchmarks.chaos driver --storage sqlite --kills 20 --root DIR      # also: journal, postgresql
    python -m benchmarks.chaos workers --storage sqlite --kills 20 --root DIR     # the trials' own processes
    python -m benchmarks.chaos outage --storage postgresql --seconds 20 --root DIR
    python -m benchmarks.chaos raylet --root DIR                                  # of Ray's own processes; also: gcs

The command line runs in processes of its own; this one reads the storage beside it. Expect a line a kill, then

    20 of 20 kills hit, 5 while starting, 15 while running; 30 trials: 9 complete, 21 pruned; all as if undisturbed

in about five minutes on two cores. What is claimed, after every kill: a finished trial stays as it was to the last
attribute; a running one keeps its reports; ASHA's rungs in the dead driver's memory, in the storage and in the next
driver's memory are the same. In the end: every number once, none RUNNING or FAIL, and every curve equal to that of an
undisturbed training. Exit 1 at the first claim that does not hold.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import pandas as pd
import torch
import yaml
from optuna.trial import FrozenTrial, TrialState

import imagesets
from benchmarks import postgres
from benchmarks.undisturbed import differences
from study.record.folder import Run, RunError
from study.record.storage import open_run
from study.record.trials import reports
from study.spec import StudySpec
from study.spec.storage_url import ENVIRONMENT
from study.tune.ledger import LOST_PROCESSES

PROJECT = Path(__file__).resolve().parents[1]
STORAGES = ("sqlite", "journal", "postgresql")
PLAIN = {"posterior": "gaussian", "prior": "standard"}
REPORTS, EVERY = 12, 100  # about 0.2 s a report: several kills fall into one trial
PATIENCE = 180.0  # seconds without what must happen


class ViolatedError(Exception):
    """A claim that does not hold."""


def claim(holds: object, otherwise: str) -> None:
    if not holds:
        raise ViolatedError(otherwise)


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


class Driver(NamedTuple):
    """A command line at work."""

    process: subprocess.Popen
    log: Path  # what it prints
    rungs: Path  # what `benchmarks.watched` writes

    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        claim(self.alive(), f"the driver had ended before it was killed: {self.said()}")
        self.process.send_signal(signal.SIGKILL)
        code = self.process.wait()
        claim(code == -signal.SIGKILL, f"the driver ended with {code}, not by SIGKILL: {self.said()}")

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


class Study:
    """A study under attack, and how it stood when it was last looked at.

    Args:
        root: where its run folder and logs go.
        ray: a folder of a short path, for Ray.
        storage: one of STORAGES.
        trials: how many.
        server: of a study on PostgreSQL.
    """

    def __init__(self, root: Path, ray: Path, storage: str, trials: int, server: postgres.Server | None = None):
        self.root, self.ray, self.server = root.resolve(), ray, server
        self.run = Run(self.root / f"chaos-{storage}")
        self.storage = None if storage == "sqlite" else server.url if server else storage
        self.preset = self.root / f"{self.run.name}.yaml"
        self.logs = self.root / f"{self.run.name}.logs"
        claim(not self.logs.exists(), f"{self.logs} is there already; name a new folder with --root")
        self.logs.mkdir(parents=True)
        raw: dict[str, Any] = {
            "name": self.run.name,
            "model": "vae",
            "dataset": "mnist5k",
            "fixed": {"hidden": 16, "latent": 4, "beta": 1.0, "kl_warmup": 0.0, **PLAIN},
            "trials": trials,
            "asha": {"grace": 2 * EVERY, "reduction": 3},
            "budget": {"steps": REPORTS * EVERY, "batch": 32, "report_every": EVERY},
        }
        self.preset.write_text(yaml.safe_dump(raw), encoding="utf-8")
        self.spec = StudySpec(**raw, storage=self.storage)
        self.seen: list[FrozenTrial] = []
        self.rungs: dict[int, dict[int, float]] = {rung: {} for rung in self.spec.rungs}
        self.sessions = 0
        self._watched: optuna.Study | None = None  # opened once: a kill must not wait until it is opened again
        self.jitter = trials / 75  # seconds, at most, between what is waited for and a kill

    # Drivers.

    def start(self) -> Driver:
        """Starts `run`, or `resume` once there is a run folder, in a session of its own."""
        self.sessions += 1
        log, rungs = (self.logs / f"{self.sessions:03d}.{kind}" for kind in ("log", "rungs"))
        arguments = ["resume", str(self.run.path)]
        env = {**os.environ, "PYTHONPATH": str(PROJECT), "RAY_TMPDIR": str(self.ray)}
        if not self.run.study_yaml.is_file():
            arguments = ["run", str(self.preset), "--root", str(self.root)]
            arguments += [] if self.storage is None else ["--storage", self.storage]
        elif self.server is not None:
            env[ENVIRONMENT] = self.server.url
        command = [sys.executable, "-m", "benchmarks.watched", str(rungs), *arguments]
        with open(log, "w") as out:  # a file: an orphan would hold a pipe open
            process = subprocess.Popen(command, cwd=self.root, env=env, stdout=out, stderr=out, start_new_session=True)
        return Driver(process, log, rungs)

    def wait(self, driver: Driver, condition: Callable[[], bool]) -> None:
        """Waits while the driver works."""
        end = time.monotonic() + PATIENCE
        while not condition():
            claim(driver.alive(), f"the driver ended with {driver.process.poll()}: {driver.said()}")
            claim(time.monotonic() < end, f"waited {PATIENCE:.0f} s in vain: {driver.said()}")
            time.sleep(0.05)

    def wait_for_progress(self, driver: Driver, share: float) -> None:
        """Waits until the driver has made a report, and that share of the study is done."""
        before = _progress(self.seen)

        def there() -> bool:
            if self._watched is None:
                with suppress(RunError):  # it is not made yet
                    self._watched = open_run(self.run, self.spec).study
                gc.collect()  # an attempt that failed keeps its connections, of which a server has a hundred
                time.sleep(0.5)
                return False
            progress = _progress(self._watched.get_trials(deepcopy=False))
            return progress > before and progress >= share * self.spec.trials

        self.wait(driver, there)

    def ended(self, driver: Driver) -> list[FrozenTrial]:
        """The stored trials after a driver's end, held against the last look, and the rungs against each other."""
        trials = self.look()
        tables = _tables(driver.rungs)
        if tables:
            claim(tables[0] == self.rungs, f"{driver.rungs}: refilled are {tables[0]}, stored were {self.rungs}")
        stored, known = rung_table(self.spec, trials), tables[-1] if tables else self.rungs
        for rung, recorded in stored.items():
            for number, value in recorded.items():
                claim(known[rung].get(number) == value, f"trial {number} is not in the driver's rung {rung}")
        undecided = sum(map(len, known.values())) - sum(map(len, stored.values()))
        claim(undecided <= 1, f"{undecided} decisions of ASHA have no report")  # one can be between the two
        self.rungs = stored
        return trials

    def look(self) -> list[FrozenTrial]:
        try:
            trials = open_run(self.run, self.spec).study.get_trials()
        except RunError:
            claim(not self.seen, "the study is gone")
            return []
        numbers = [trial.number for trial in trials]
        claim(numbers == list(range(len(trials))), f"the trials' numbers are {numbers}")
        claim(len(trials) <= self.spec.trials, f"{len(trials)} trials")
        claim(len(trials) >= len(self.seen), f"{len(trials)} trials, of which {len(self.seen)} were there")
        for old, new in zip(self.seen, trials):
            if old.state.is_finished():
                claim(new == old, f"trial {old.number} was finished and has changed: {old} is now {new}")
            claim(old.params.items() <= new.params.items(), f"trial {old.number} was drawn again")
            for steps, report in reports(old).items():
                kept = reports(new).get(steps)
                claim(kept == report, f"trial {old.number}: the report at {steps} was {report}, is {kept}")
        self.seen = trials
        return trials

    def unfinished(self) -> set[int]:
        return {trial.number for trial in self.look() if not trial.state.is_finished()}

    # The end.

    def finish(self, driver: Driver) -> list[FrozenTrial]:
        """Waits for the study's end, and holds all of it against the truth."""
        code = driver.process.wait(PATIENCE * 5)
        trials = self.ended(driver)
        states = [trial.state.name for trial in trials]
        claim(code == 0, f"the driver ended with {code}: {driver.said()}")
        claim(len(trials) == self.spec.trials, f"{len(trials)} trials, not {self.spec.trials}")
        claim(set(states) <= {"COMPLETE", "PRUNED"}, f"the trials are {states}")
        torch.set_num_threads(self.spec.resources.cpus)
        for trial in trials:
            last, complete = max(reports(trial)), trial.state == TrialState.COMPLETE
            ends = [self.spec.steps] if complete else self.spec.rungs
            claim(last in ends, f"trial {trial.number} is {trial.state.name} at step {last}")
            found = differences(self.spec, trial)
            claim(not found, "; ".join(found))
        rows = pd.read_parquet(self.run.table("results"))
        claim(list(rows["number"]) == list(range(self.spec.trials)), "results.parquet has not every trial once")
        claim(list(rows["state"]) == states, "results.parquet and the study differ")
        return trials

    def processes(self, title: str) -> dict[int, int | None]:
        """Ray's processes with that in their title or command line: id -> the trial at work there, if one is."""
        found: dict[int, int | None] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                files = [os.readlink(fd) for fd in (folder / "fd").iterdir()]
                if not any(file.startswith(str(self.ray)) for file in files):
                    continue
                if title in (folder / "cmdline").read_text() and int(folder.name) != os.getpid():
                    mine = [Path(file) for file in files if file.startswith(str(self.run.path / "trials"))]
                    found[int(folder.name)] = next((int(file.parent.name) for file in mine), None)
        return found


def _progress(trials: list[FrozenTrial]) -> float:
    """In trials: a finished one counts whole, another by its reports."""
    return sum(1.0 if trial.state.is_finished() else len(reports(trial)) / (REPORTS + 1) for trial in trials)


def _tables(path: Path) -> list[dict[int, dict[int, float]]]:
    """What `benchmarks.watched` wrote; a last line without an end was under way."""
    lines = path.read_text().split("\n")[:-1] if path.is_file() else []
    return [
        {int(rung): {int(number): value for number, value in recorded.items()} for rung, recorded in line.items()}
        for line in map(json.loads, lines)
    ]


def rung_table(spec: StudySpec, trials: list[FrozenTrial]) -> dict[int, dict[int, float]]:
    """ASHA's rungs by their definition: at each, the value of every trial's first report at or above it."""
    table: dict[int, dict[int, float]] = {rung: {} for rung in spec.rungs}
    for trial in trials:
        for rung, recorded in table.items():
            above = [report[spec.objectives[0]] for steps, report in reports(trial).items() if steps >= rung]
            if above and above[0] is not None and math.isfinite(above[0]):
                recorded[trial.number] = above[0]
    return table


# The attacks.


def kill_drivers(study: Study, kills: int, dice: random.Random) -> list[str]:
    """SIGKILLs of the driver: the first while it makes the study, some while it starts, the others spread over it.

    A single one is soon after the first reports.
    """
    starting = max(1, kills // 4) if kills > 1 else 0
    shares = [0.9 * i / (kills - starting + 1) for i in range(1, kills - starting + 1)] if kills > 1 else [0.0]
    plan: list[float | None] = [*([None] if starting else []), *shares]
    for _ in range(starting - 1):
        plan.insert(dice.randrange(2, len(plan) + 1), None)
    hits, usual = [], 5.0
    for i, share in enumerate(plan):
        driver, started, before = study.start(), time.monotonic(), _progress(study.seen)
        if share is not None:
            study.wait_for_progress(driver, share)
            usual = min(usual, time.monotonic() - started)
            time.sleep(dice.uniform(0, study.jitter))
        elif i == 0:
            study.wait(driver, study.run.study_yaml.is_file)
            time.sleep(dice.uniform(0, 0.3))
        else:
            time.sleep(dice.uniform(0.2, 1.0) * usual)
        driver.kill()
        trials = study.ended(driver)
        after = _progress(trials)
        ended = after == study.spec.trials
        hits.append("while ending" if ended else "while running" if after > before else "while starting")
        _say(hits, trials, f"after {time.monotonic() - started:.1f} s")
    study.finish(study.start())
    return hits


def kill_workers(study: Study, kills: int, dice: random.Random) -> list[str]:
    """SIGKILLs of the processes in which trials run; one driver sees them all."""
    hits: list[str] = []
    losses: Counter[int] = Counter()

    def strike() -> bool:
        """Kills one process, but none whose trial was, or may have been, hit as often as a trial may lose its own.

        A process between trials may be that of any unfinished trial which is at work in none.
        """
        spent = {number for number in study.unfinished() if losses[number] == LOST_PROCESSES}
        there = study.processes("Trainable")
        spared = spent | ({None} if spent - set(there.values()) else set())
        victims = sorted(pid for pid, number in there.items() if number not in spared)
        if not victims:
            return False
        victim = dice.choice(victims)
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            return False
        at_work = {number for pid, number in study.processes("Trainable").items() if pid != victim}
        idle = study.unfinished() - at_work
        losses.update(idle & {there[victim]} or idle)
        hits.append("between trials" if there[victim] is None else "in a trial")
        return True

    driver = study.start()
    for i in range(1, kills + 1):
        study.wait_for_progress(driver, 0.9 * i / (kills + 1))
        time.sleep(dice.uniform(0, study.jitter))
        study.wait(driver, strike)
        claim(driver.alive(), f"the driver ended with a worker: {driver.said()}")
        _say(hits, study.look(), f"no trial more than {max(losses.values(), default=0)} times")
    study.finish(driver)
    return hits


def stop_the_server(study: Study, seconds: float) -> list[str]:
    """PostgreSQL is away for a while in mid-study; the driver waits for it."""
    assert study.server is not None
    driver = study.start()
    study.wait_for_progress(driver, 0.4)
    study.server.stop()
    study.wait(driver, lambda: "the storage does not answer" in driver.log.read_text())
    time.sleep(seconds)
    claim(driver.alive(), f"the driver ended without its server: {driver.said()}")
    study.server.start()
    _say(["outage"], study.look(), f"{seconds:g} s")
    study.finish(driver)
    claim("the storage answers again" in driver.log.read_text(), "the driver did not notice")
    return ["while running"]


def kill_ray(study: Study, title: str) -> list[str]:
    """SIGKILL of a process of Ray's own under the driver, which must end by itself, and may be called again."""
    driver = study.start()
    study.wait_for_progress(driver, 0.3)
    (victim,) = study.processes(title)
    os.kill(victim, signal.SIGKILL)
    started = time.monotonic()
    try:
        code = driver.process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        driver.kill()
        raise ViolatedError(f"without its {title} the driver hangs: {driver.said()}") from None
    _say(["while running"], study.look(), f"the driver ended with {code} after {time.monotonic() - started:.1f} s")
    if code:
        study.ended(driver)
    study.finish(driver if code == 0 else study.start())
    return ["while running"]


def _say(hits: list[str], trials: list[FrozenTrial], how: str) -> None:
    finished = sum(trial.state.is_finished() for trial in trials)
    print(f"{len(hits):3d}  {hits[-1]:15s} {finished} finished, {len(trials) - finished} running; {how}", flush=True)


@contextmanager
def _study(root: Path, storage: str, trials: int) -> Iterator[Study]:
    """A study in an empty folder; what its drivers leave behind is ended."""
    claim(storage in STORAGES, f"storage {storage!r} is not known; known: {', '.join(STORAGES)}")
    imagesets.load("mnist5k")  # made once, before two processes want it
    with (
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as ray,
        postgres.server() if storage == "postgresql" else nullcontext() as server,
    ):
        study = Study(root, Path(ray), storage, trials, server)
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
    seconds: float = 20,
    seed: int = 0,
) -> Summary:
    """Attacks a study, and goes on with it to its end.

    Args:
        what: "driver", "workers", "outage", "raylet" or "gcs".
        root: a folder without a run of this storage.
        storage: one of STORAGES.
        kills: of drivers or workers.
        trials: of the study.
        seconds: of the outage.
        seed: of when and where it is hit.

    Raises:
        ViolatedError: a claim does not hold.
        PostgresError: PostgreSQL is not installed.
    """
    started, dice = time.monotonic(), random.Random(seed)
    claim(what != "outage" or storage == "postgresql", "only a server can be out: --storage postgresql")
    with _study(root, storage, trials) as study:
        if what == "driver":
            hits = kill_drivers(study, kills, dice)
        elif what == "workers":
            hits = kill_workers(study, kills, dice)
        elif what == "outage":
            hits = stop_the_server(study, seconds)
        else:
            hits = kill_ray(study, {"raylet": "raylet/raylet", "gcs": "gcs/gcs_server"}[what])
        states = [trial.state for trial in study.seen]
    complete, pruned = (states.count(state) for state in (TrialState.COMPLETE, TrialState.PRUNED))
    return Summary(hits, complete, pruned, time.monotonic() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["driver", "workers", "outage", "raylet", "gcs"])
    parser.add_argument("--storage", choices=STORAGES, default="sqlite")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--trials", type=int, default=30)
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
