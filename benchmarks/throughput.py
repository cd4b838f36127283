"""What a trial costs besides its training, in short studies and long ones: seconds, the driver's memory, trials lost.

    python -m benchmarks.throughput --trials 50 500

Each study runs through the command line in a process of its own: fast trials of ten reports, none stopped early. The
seconds a trial are those from the end of the first trial to the end of the last, so that Ray's start and that of its
workers do not count. What is claimed: at 500 trials they are at most 1.5 times those at 50, the driver's memory is
bounded, and no trial or report is lost.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import optuna
import yaml
from optuna.trial import TrialState

from study.record.folder import Run
from study.record.storage import open_run
from study.record.trials import reports

PROJECT = Path(__file__).resolve().parent.parent
REPORTS, EVERY = 10, 2
LIMIT = 1.5
PRESET = {
    "name": "throughput",
    "model": "vae",
    "dataset": "mnist5k",
    "fixed": {
        "hidden": 16,
        "latent": 4,
        "kl_warmup": 0.0,
        "posterior": "gaussian",
        "prior": "standard",
    },  # beta and the learning rate are drawn
    "sampler": "tpe",
    "asha": None,
    "budget": {"steps": REPORTS * EVERY, "batch": 16, "report_every": EVERY, "log_every": EVERY},
}


class Measured(NamedTuple):
    """One study."""

    trials: int
    seconds_a_trial: float
    seconds: float  # of the whole command
    first_mb: float  # the driver's memory when the first trial had ended
    last_mb: float  # and at the end
    lost: int


def lost(study: optuna.Study, trials: int) -> int:
    """How many of the trials are missing, not complete, or without one of their reports."""
    steps = [EVERY * (n + 1) for n in range(REPORTS)]
    whole = {
        trial.number
        for trial in study.get_trials(deepcopy=False)
        if trial.state == TrialState.COMPLETE
        and list(reports(trial)) == steps
        and list(trial.intermediate_values) == steps
    }
    return len(set(range(trials)) - whole)


def seconds_a_trial(study: optuna.Study) -> float:
    """From the end of the first trial to the end of the last."""
    ends = sorted(t.datetime_complete for t in study.get_trials(deepcopy=False) if t.datetime_complete is not None)
    return (ends[-1] - ends[0]).total_seconds() / (len(ends) - 1)


def measure(trials: int, folder: Path, sampler: str = "tpe", storage: str | None = None) -> Measured:
    """Runs a study of so many trials.

    Args:
        trials: how many.
        folder: to write in.
        sampler: of the study.
        storage: likewise.

    Raises:
        CalledProcessError: it did not end with exit code 0; what it said is in the folder's `log`.
    """
    preset = folder / "throughput.yaml"
    preset.write_text(yaml.safe_dump({**PRESET, "trials": trials, "sampler": sampler, "storage": storage}))
    command = [sys.executable, "-m", "study", "run", str(preset), "--root", str(folder / "runs")]
    started, samples = time.monotonic(), []
    with open(folder / "log", "w") as log:  # a file: Ray's processes would hold a pipe open
        driver = subprocess.Popen(command, stdout=log, stderr=log, cwd=PROJECT)
        while driver.poll() is None:
            if re.search(rf"\(\d+ of {trials}\)", (folder / "log").read_text()):
                samples.append(_memory(driver.pid))
            time.sleep(0.2)
    seconds = time.monotonic() - started
    if driver.returncode:
        raise subprocess.CalledProcessError(driver.returncode, command)
    run = Run(folder / "runs" / "throughput")
    study = open_run(run).study
    memory = [sample for sample in samples if sample]  # a process that ends has none
    return Measured(trials, seconds_a_trial(study), seconds, memory[0], memory[-1], lost(study, trials))


def _memory(pid: int) -> float:
    """What a process holds of the memory, in MB; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def table(measured: Sequence[Measured]) -> str:
    """The measurements in lines of text, each held against the first."""
    lines = ["trials   s/trial   ratio   command s   driver MB, first trial   at the end   lost"]
    lines += [
        f"{m.trials:6d}  {m.seconds_a_trial:8.3f}  {m.seconds_a_trial / measured[0].seconds_a_trial:6.2f}"
        f"  {m.seconds:10.1f}  {m.first_mb:23.0f}  {m.last_mb:11.0f}  {m.lost:5d}"
        for m in measured
    ]
    return "\n".join(lines)


def holds(measured: Sequence[Measured]) -> bool:
    """Whether no trial was lost, and none of the studies took longer a trial than LIMIT times the first."""
    return all(m.lost == 0 and m.seconds_a_trial <= LIMIT * measured[0].seconds_a_trial for m in measured)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[50, 500])
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--storage", help="as in a preset, such as journal")
    given = parser.parse_args(arguments)
    measured = []
    for trials in given.trials:
        with tempfile.TemporaryDirectory() as folder:
            measured.append(measure(trials, Path(folder), given.sampler, given.storage))
        print(table(measured), flush=True)
    return 0 if holds(measured) else 1


if __name__ == "__main__":
    sys.exit(main())
