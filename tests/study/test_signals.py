"""Ctrl-C, SIGTERM and `timeout`: a search stops softly, says how to go on, and loses and doubles nothing."""

import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import pytest
from optuna.trial import TrialState

import imagesets
from study import signals
from study.record.folder import Run
from study.record.storage import open_run
from study.record.trials import reports
from study.trial.seeds import derived_seed
from study.trial.training import Training

pytestmark = pytest.mark.alone

PROJECT = Path(__file__).resolve().parents[2]
TRIALS, FULL, EVERY = 4, 200, 10
LINGER, LINGER_HARD = 20.0, 75.0  # seconds; after a hard end two of Ray's agents take a minute
PATIENT = """
from study import signals
signals.EXIT_SECONDS = 50.0  # a busy machine needs more than 6 s for a soft stop
from study.cli import app, main
main(app)
"""


def processes_of(session: int, mark: str) -> dict[int, str]:
    """Processes of that session, or with that text in their environment: id -> command line."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _, _, of = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if state != "Z" and (int(of) == session or mark.encode() in (folder / "environ").read_bytes()):
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ").strip()
    return found


class Driver:
    """A command line in a session of its own, as a terminal gives it."""

    def __init__(self, folder: Path, arguments: list[str]):
        self.mark = f"SIGNALLED={uuid.uuid4()}"
        name, value = self.mark.split("=")
        self.files = folder / f"{value}.out", folder / f"{value}.err"  # files: an orphan would hold a pipe open
        with open(self.files[0], "w") as out, open(self.files[1], "w") as err:
            env = {**os.environ, "PYTHONPATH": str(PROJECT), name: value}
            self.process = subprocess.Popen(
                [sys.executable, *arguments], cwd=folder, env=env, stdout=out, stderr=err, start_new_session=True
            )

    def wait_for(self, condition: Callable[[], Any], seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, f"waited {seconds} s in vain"
            time.sleep(0.02)

    @property
    def said(self) -> str:
        return "\n".join(file.read_text() for file in self.files)

    def ended(self, seconds: float = 60) -> int:
        """Its exit code, if it ends in that time."""
        return self.process.wait(seconds)

    def others(self) -> dict[int, str]:
        """The processes of its session: id -> command line."""
        return processes_of(self.process.pid, self.mark)

    def wait_for_the_others(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.others() and time.monotonic() < end:
            time.sleep(0.1)

    def how_to_go_on(self) -> list[str]:
        """What it printed, as arguments of Python."""
        lines = [line for line in self.files[1].read_text().splitlines() if line.startswith("stopping; go on with: ")]
        assert len(lines) == 1, self.said
        python, *arguments = shlex.split(lines[0].removeprefix("stopping; go on with: "))
        assert python == "python"
        return arguments


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Iterator[Callable[..., Driver]]:
    """Starts drivers; whatever they leave behind is ended, process by process."""
    started = []

    def begin(*arguments: str | Path, folder: Path | None = None) -> Driver:
        started.append(Driver(folder or tmp_path_factory.mktemp("driver"), [*map(str, arguments)]))
        return started[-1]

    yield begin
    for driver in started:
        for pid in driver.others():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        driver.process.wait()


class Stopped(NamedTuple):
    """How a driver reacted to a signal."""

    code: int
    states: list[TrialState]  # of the study then
    out: str
    err: str
    others: dict[int, str]  # processes that stayed behind


@pytest.fixture(scope="module")
def chain(start, preset, tmp_path_factory) -> tuple[Run, dict[str, Stopped]]:
    """A search that is stopped three times, each time in another way, and goes on with the command that was printed."""
    folder = tmp_path_factory.mktemp("chain")
    run = Run(folder / "elsewhere" / "tiny")
    budget = {"steps": FULL, "report_every": EVERY, "log_every": 100}
    arguments = ["-m", "study", "run", preset(folder, trials=TRIALS, budget=budget), "--root", run.path.parent]
    patient = ["-c", PATIENT]
    ways = {
        "timeout": lambda driver: os.killpg(driver.process.pid, signal.SIGTERM),  # first: its leftovers take a minute
        "Ctrl-C": lambda driver: os.killpg(driver.process.pid, signal.SIGINT),
        "SIGTERM": lambda driver: driver.process.terminate(),
    }
    drivers, found = {}, {}

    def states() -> list[TrialState]:
        return [trial.state for trial in open_run(run).study.get_trials()]

    for way, send in ways.items():
        made = count_reports(run)
        driver = start(*(arguments if way == "timeout" else patient + arguments[2:]), folder=folder)
        driver.wait_for(lambda made=made: count_reports(run) >= made + 4)
        send(driver)
        code = driver.ended()
        arguments = driver.how_to_go_on()
        drivers[way], found[way] = driver, (code, states())
        if way != "timeout":
            driver.wait_for_the_others(LINGER)
    drivers["in the end"] = start(*arguments, folder=folder)
    found["in the end"] = (drivers["in the end"].ended(300), states())
    drivers["in the end"].wait_for_the_others(LINGER)
    drivers["timeout"].wait_for_the_others(LINGER_HARD)
    return run, {
        way: Stopped(*found[way], *(file.read_text() for file in driver.files), driver.others())
        for way, driver in drivers.items()
    }


def count_reports(run: Run) -> int:
    return len(list(run.path.glob("trials/*/snapshots/*.npz")))


RAYS_OWN = (
    "Trial status",
    "Logical resource usage",
    "Ray Tune",
    "(pid=",
    "ray_results",
    "Tuner",
    "INFO",
    "WARNING",
    "╭",
)
every_way = pytest.mark.parametrize("way", ["Ctrl-C", "SIGTERM", "timeout"])


@pytest.mark.long
@every_way
def test_it_ends_with_the_code_of_the_signal(chain, way):
    assert chain[1][way].code == (130 if way == "Ctrl-C" else 143)


@pytest.mark.long
@every_way
def test_it_was_stopped_in_mid_study_and_nothing_was_given_up(chain, way):
    states = chain[1][way].states
    assert TrialState.RUNNING in states
    assert set(states) <= {TrialState.RUNNING, TrialState.COMPLETE}


@pytest.mark.long
@every_way
def test_standard_error_names_the_way_to_go_on_and_holds_nothing_else(chain, way):
    run, stopped = chain
    if way != "timeout":  # there Ray's processes die first, and the driver says so
        command = f"stopping; go on with: python -m study resume {run.path}"
        assert stopped[way].err.split("\n") == ["", command, ""]
    assert "Traceback" not in stopped[way].err


@pytest.mark.long
@every_way
def test_no_process_stays_behind(chain, way):
    assert chain[1][way].others == {}


@pytest.mark.long
def test_a_soft_stop_writes_the_tables_and_says_where_the_study_stands(chain):
    run, stopped = chain
    assert "tiny: 0 complete, 0 pruned, 0 failed, 2 unfinished, of 4 trials" in stopped["Ctrl-C"].out
    assert run.table("results").is_file()


@pytest.mark.long
def test_off_a_terminal_there_is_a_line_for_each_trial_and_nothing_of_rays_own(chain):
    run, stopped = chain
    code, states, out, err, others = stopped["in the end"]
    assert (code, err, others) == (0, "", {})
    assert set(states) == {TrialState.COMPLETE}
    assert not [phrase for phrase in RAYS_OWN if any(phrase in way.out for way in stopped.values())]
    assert "\x1b" not in out
    goes_on = [line for line in out.splitlines() if re.fullmatch(r"trial [0-9]+: goes on from step [0-9]+", line)]
    assert goes_on  # trials that a signal had stopped
    paces = [line for line in out.splitlines() if re.fullmatch(r"\[ *[0-9.]+ s\] [0-9,]+ steps in .*", line)]
    assert paces  # from the first report on
    lines = [line for line in out.splitlines() if line not in [*goes_on, *paces]]
    numbers = sorted(int(re.match(r"\[ *[0-9.]+ s\] trial ([0-9]+) +complete ", line)[1]) for line in lines[:TRIALS])
    assert numbers == list(range(TRIALS))
    assert all(line.endswith(f" ({done} of 4)") for done, line in enumerate(lines[:TRIALS], 1))
    assert lines[TRIALS] == "tiny: 4 complete, 0 pruned, 0 failed, 0 unfinished, of 4 trials"
    assert re.fullmatch(r"[0-9,]+ steps in [0-9.]+ (s|min) of [0-9] starts, [0-9.]+ a second", lines[TRIALS + 1])
    assert lines[TRIALS + 2].startswith("best: trial ")
    assert lines[-2] == f"tables, checkpoints and TensorBoard: {run.path}"


@pytest.mark.long
def test_in_the_end_every_trial_is_there_once_and_complete(chain):
    run, _ = chain
    trials = open_run(run).study.get_trials()
    assert [trial.number for trial in trials] == list(range(TRIALS))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}


@pytest.mark.long
def test_no_report_is_missing_and_none_is_doubled(chain):
    run, _ = chain
    for trial in open_run(run).study.get_trials():
        assert list(reports(trial)) == list(range(EVERY, FULL + 1, EVERY))
        assert sorted(trial.intermediate_values) == list(range(EVERY, FULL + 1, EVERY))
        logged = [step for report in reports(trial).values() for step, _ in report["train"]]
        assert logged == list(range(0, FULL, 100))


@pytest.mark.long
def test_the_numbers_are_those_of_a_training_that_nobody_disturbed(chain):
    run, _ = chain
    spec, splits = run.spec(), imagesets.load("mnist5k")
    for trial in open_run(run, spec).study.get_trials():
        settings = spec.draw(optuna.trial.FixedTrial(trial.params))
        training = Training(spec, settings, splits, seed=derived_seed(spec.seed, trial.number))
        training.advance(FULL)
        last = reports(trial)[FULL]
        assert {key: last[key] for key in ("elbo", "reconstruction", "kl", "hoyer")} == {
            key: value for key, value in training.evaluate().items() if key in ("elbo", "reconstruction", "kl", "hoyer")
        }


# The handlers alone, without Ray.

WAITING = """
import sys, threading, time
from study import signals
signals.EXIT_SECONDS = float(sys.argv[1])
with signals.stopping_on_signals(lambda: "this command") as stop:
    print("ready", flush=True)
    {wait}
print("soft", stop.signal, flush=True)
"""
POLITE = "while stop.signal is None: time.sleep(0.01)"
STUBBORN = "time.sleep(600)"
DEAF = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"  # Python sees no signal until C returns


@pytest.fixture
def waiting(start) -> Callable[..., Driver]:
    """A process that waits in some way for signals."""

    def begin(wait: str, exit_seconds: float = 600.0) -> Driver:
        driver = start("-c", textwrap.dedent(WAITING).format(wait=wait), exit_seconds)
        driver.wait_for(lambda: "ready" in driver.files[0].read_text())
        return driver

    return begin


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_one_signal_sets_the_flag_and_the_work_ends_by_itself(waiting, signum):
    driver = waiting(POLITE)
    driver.process.send_signal(signum)
    assert driver.ended() == 0
    assert driver.files[0].read_text().endswith(f"soft {signum.value}\n")
    assert driver.files[1].read_text() == "\nstopping; go on with: this command\n"


def test_a_hang_up_that_is_ignored_stays_so(start):
    driver = start("-c", "import signal; signal.signal(1, signal.SIG_IGN)\n" + WAITING.format(wait=POLITE), 600.0)
    driver.wait_for(lambda: "ready" in driver.files[0].read_text())
    driver.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert driver.process.poll() is None
    driver.process.terminate()
    assert driver.ended() == 0
    assert driver.files[0].read_text().endswith("soft 15\n")


@pytest.mark.parametrize("wait", [STUBBORN, DEAF], ids=["stubborn", "deaf"])
def test_a_second_signal_leaves_at_once(waiting, wait):
    driver = waiting(wait)
    driver.process.send_signal(signal.SIGINT)
    driver.wait_for(lambda: "stopping" in driver.files[1].read_text())
    assert driver.process.poll() is None
    driver.process.send_signal(signal.SIGTERM)
    assert driver.ended() == 143
    assert driver.files[1].read_text().count("stopping") == 1


@pytest.mark.parametrize("wait", [STUBBORN, DEAF], ids=["stubborn", "deaf"])
def test_a_stop_that_takes_too_long_is_cut_short(waiting, wait):
    driver = waiting(wait, exit_seconds=0.5)
    driver.process.send_signal(signal.SIGTERM)
    assert driver.ended() == 143


def test_after_a_soft_stop_the_process_is_its_own_again(capsys, monkeypatch):
    """As in a notebook: nothing ends it later, and Ctrl-C is Ctrl-C again."""
    monkeypatch.setattr(signals, "EXIT_SECONDS", 0.2)
    before = [signal.getsignal(signum) for signum in signals.SIGNALS]
    with signals.stopping_on_signals(lambda: "this command") as stop:
        signal.raise_signal(signal.SIGINT)
        end = time.monotonic() + 60
        while stop.signal is None and time.monotonic() < end:
            time.sleep(0.001)
    assert stop.signal == signal.SIGINT
    assert [signal.getsignal(signum) for signum in signals.SIGNALS] == before
    time.sleep(0.5)  # the hard end would have come by now
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(SystemExit) as ended:
        stop.leave_if_asked()
    assert ended.value.code == 130


def test_without_a_signal_nothing_is_left_behind():
    before = len(os.listdir("/proc/self/fd")), [signal.getsignal(signum) for signum in signals.SIGNALS]
    with signals.stopping_on_signals(lambda: "this command") as stop:
        pass
    stop.leave_if_asked()
    assert (len(os.listdir("/proc/self/fd")), [signal.getsignal(signum) for signum in signals.SIGNALS]) == before


def test_ray_does_not_keep_the_handler_that_it_installs():
    def ours(*_: object) -> None: ...

    before = signal.signal(signal.SIGTERM, ours)
    try:
        with signals.handlers_kept():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is ours
        with pytest.raises(SystemExit) as ended, signals.handlers_kept():
            raise SystemExit(signal.SIGTERM)  # what Ray's own does while it starts
        assert ended.value.code == 143
    finally:
        signal.signal(signal.SIGTERM, before)
