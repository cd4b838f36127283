"""A study under attack: drivers of it in processes of their own, and what must hold of it whatever is hit."""

from __future__ import annotations

import gc
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import pandas as pd
import torch
import yaml
from optuna.trial import FrozenTrial, TrialState

from analysis import replay, simulation
from benchmarks import postgres
from benchmarks.cluster import Cluster
from benchmarks.undisturbed import differences
from study.record.folder import Run, RunError
from study.record.pauses import HANDED_OUT, paused_at
from study.record.storage import open_run
from study.record.trials import reports
from study.spec import StudySpec
from study.spec.measures import PAUSED
from study.spec.storage_url import ENVIRONMENT

PROJECT = Path(__file__).resolve().parents[1]
STORAGES = ("sqlite", "journal", "postgresql")
PLAIN = {"posterior": "gaussian", "prior": "standard"}
REPORTS, EVERY = 12, 100  # about 0.2 s a report: several kills fall into one trial
PATIENCE = 180.0  # seconds without what must happen
Table = dict[int, dict[int, float]]  # rung -> number of the trial -> value
GIVEN_UP = 60.0  # seconds that a driver may take to end when it cannot go on


class ViolatedError(Exception):
    """A claim that does not hold."""


def claim(holds: object, otherwise: str) -> None:
    if not holds:
        raise ViolatedError(otherwise)


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

    def gives_up(self, expected: int) -> float:
        """Waits until it has ended by itself, in its own few words; returns the seconds."""
        started = time.monotonic()
        try:
            code = self.process.wait(GIVEN_UP)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ViolatedError(f"the driver still works, or hangs, after {GIVEN_UP:.0f} s: {self.said()}") from None
        claim(code == expected, f"the driver ended with {code}, not with {expected}: {self.said()}")
        said = self.said()
        claim("go on with: python -m study resume" in said, f"the driver does not say how to go on: {said}")
        claim("Traceback" not in said and "[state-dump]" not in said, f"the driver says what is not its own: {said}")
        return time.monotonic() - started

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
        cluster: whose machines its trials run on; without one each driver starts a Ray of its own.
        mode: of its ASHA.
    """

    def __init__(
        self,
        root: Path,
        ray: Path,
        storage: str,
        trials: int,
        server: postgres.Server | None = None,
        cluster: Cluster | None = None,
        mode: str = "stop",
    ):
        self.root, self.ray, self.server, self.cluster = root.resolve(), ray, server, cluster
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
            "asha": {"grace": 2 * EVERY, "reduction": 3, "mode": mode},
            "budget": {"steps": REPORTS * EVERY, "batch": 32, "report_every": EVERY},
        }
        self.preset.write_text(yaml.safe_dump(raw), encoding="utf-8")
        self.spec = StudySpec(**raw, storage=self.storage)
        self.seen: list[FrozenTrial] = []
        self.rungs: Table = {rung: {} for rung in self.spec.rungs}
        self.pauses: Table = {rung: {} for rung in self.spec.rungs}
        self.sessions = 0
        self._watched: optuna.Study | None = None  # opened once: a kill must not wait until it is opened again
        self.jitter = trials / 75  # seconds, at most, between what is waited for and a kill

    # Drivers.

    def start(self, output: int | None = None) -> Driver:
        """Starts `run`, or `resume` once there is a run folder, in a session of its own.

        Args:
            output: a descriptor, to be its standard output in the place of the log.
        """
        self.sessions += 1
        log, rungs = (self.logs / f"{self.sessions:03d}.{kind}" for kind in ("log", "rungs"))
        arguments = ["resume", str(self.run.path)]
        env = {**os.environ, "PYTHONPATH": str(PROJECT), "RAY_TMPDIR": str(self.ray)}
        if not self.run.study_yaml.is_file():
            arguments = ["run", str(self.preset), "--root", str(self.root)]
            arguments += [] if self.storage is None else ["--storage", self.storage]
        elif self.server is not None:
            env[ENVIRONMENT] = self.server.url
        if self.cluster is not None:
            arguments += ["--address", self.cluster.address]
            env |= self.cluster.token
        command = [sys.executable, "-m", "benchmarks.watched", str(rungs), *arguments]
        with open(log, "w") as out:  # a file: an orphan would hold a pipe open
            said = out if output is None else output
            process = subprocess.Popen(command, cwd=self.root, env=env, stdout=said, stderr=out, start_new_session=True)
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
        before = progress(self.seen)

        def there() -> bool:
            if self._watched is None:
                with suppress(RunError):  # it is not made yet
                    self._watched = open_run(self.run, self.spec).study
                gc.collect()  # an attempt that failed keeps its connections, of which a server has a hundred
                time.sleep(0.5)
                return False
            now = progress(self._watched.get_trials(deepcopy=False))
            return now > before and now >= share * self.spec.trials

        self.wait(driver, there)

    def ended(self, driver: Driver) -> list[FrozenTrial]:
        """The stored trials after a driver's end, held against the last look, and the rungs against each other."""
        trials = self.look()
        tables = _tables(driver.rungs)
        if tables:
            rungs, pauses = tables[0]
            claim(rungs == self.rungs, f"{driver.rungs}: refilled are {rungs}, stored were {self.rungs}")
            claim(pauses == self.pauses, f"{driver.rungs}: {pauses} pause again, {self.pauses} did")
        stored, known = rung_table(self.spec, trials), tables[-1][0] if tables else self.rungs
        for rung, recorded in stored.items():
            for number, value in recorded.items():
                claim(known[rung].get(number) == value, f"trial {number} is not in the driver's rung {rung}")
        undecided = sum(map(len, known.values())) - sum(map(len, stored.values()))
        claim(undecided <= 1, f"{undecided} decisions of ASHA have no report")  # one can be between the two
        self.rungs, self.pauses = stored, pause_table(self.spec, trials)
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
                if (
                    kept is not None and f"{HANDED_OUT}{steps}" in new.user_attrs
                ):  # it went on, and may have repeated it
                    report.pop(PAUSED, None)
                    kept.pop(PAUSED, None)
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
        made = replay.searched(self.run)
        decided = simulation.own_decisions(self.spec, made.reports, made.turns or ())
        pruned = {trial.number: max(reports(trial)) for trial in trials if trial.state == TrialState.PRUNED}
        claim(decided == pruned, f"pruned are {pruned}; by the rule, in the order of the reports, it is {decided}")
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


def progress(trials: list[FrozenTrial]) -> float:
    """In trials: a finished one counts whole, one that pauses nearly so, another by its reports."""

    def share(trial: FrozenTrial) -> float:
        if trial.state.is_finished():
            return 1.0
        made = REPORTS if paused_at(trial) is not None else len(reports(trial))
        return made / (REPORTS + 1)

    return sum(map(share, trials))


def _tables(path: Path) -> list[tuple[Table, Table]]:
    """What `benchmarks.watched` wrote: rungs, and who pauses; a last line without an end was under way."""
    lines = path.read_text().split("\n")[:-1] if path.is_file() else []
    return [(_table(rungs), _table(pauses)) for rungs, pauses in map(json.loads, lines)]


def _table(written: dict[str, dict[str, float]]) -> Table:
    return {int(rung): {int(number): value for number, value in recorded.items()} for rung, recorded in written.items()}


def pause_table(spec: StudySpec, trials: list[FrozenTrial]) -> Table:
    """Who pauses at each rung by its definition: the last report is there and says so, and nobody took it up since."""
    table: Table = {rung: {} for rung in spec.rungs}
    for trial in trials:
        made = reports(trial)
        last = max(made, default=0)
        open_ = not trial.state.is_finished() and f"{HANDED_OUT}{last}" not in trial.user_attrs
        if open_ and last in table and made[last].get(PAUSED):
            table[last][trial.number] = made[last][spec.objectives[0]]
    return table


def rung_table(spec: StudySpec, trials: list[FrozenTrial]) -> Table:
    """ASHA's rungs by their definition: at each, the value of every trial's first report at or above it."""
    table: Table = {rung: {} for rung in spec.rungs}
    for trial in trials:
        for rung, recorded in table.items():
            above = [report[spec.objectives[0]] for steps, report in reports(trial).items() if steps >= rung]
            if above and above[0] is not None and math.isfinite(above[0]):
                recorded[trial.number] = above[0]
    return table
