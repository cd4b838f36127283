"""Rows on trials and whole studies, see `benchmarks.speed`: commands that are watched while they work."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import optuna
import yaml

from benchmarks import processes, stock, throughput
from benchmarks.measured import Asked, Row, Sides
from benchmarks.serving import Pace, SideError, Trainings
from benchmarks.steps import dataset, pinned, validated
from benchmarks.training_speed import STEPS, command
from study.record.folder import Run
from study.record.storage import open_run
from study.record.trials import TAKEN_UP, reports

WAIT = 600.0  # seconds for what a command is to bring about
SETTLED = 5  # readings of memory, a second apart


def studied(asked: Asked, preset: dict[str, Any], sizes: dict[str, Any]) -> tuple[Path, list[str]]:
    """A run folder that is not there yet, and the command's arguments that make it."""
    name = f"{preset['name']}-{len([*asked.folder.glob('*.yaml')])}"
    file = asked.folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({**preset, **sizes, "name": name, "dataset": dataset(asked.data)}))
    data = [] if asked.data is None else ["--data", asked.data]
    return asked.folder / name, ["run", str(file), "--root", str(asked.folder), *data]


# Trials of real size


def sized(asked: Asked, trials: int, steps: int, every: int) -> dict[str, Any]:
    """A study of vae in the sizes of the trainings, none stopped early."""
    budget = {"steps": steps, "report_every": every, "batch": 128}
    fixed = {"model": "vae", "fixed": pinned("vae"), "sampler": "random", "asha": None}
    return {"name": "sized", **fixed, "trials": trials, "budget": budget}


class Searched(NamedTuple):
    """A study of two trials at a time, and what was measured before and after it."""

    whole: float  # steps a second of all trials, from the start of the first to the end of the last
    trial: Pace  # of a trial, from its first report to its last; of CPU, in training and evaluation alone
    papers: list[Pace]  # two threads
    outside: list[Pace]  # two trainings at once, with evaluations as often; of one of the two


@lru_cache(maxsize=1)
def searched(asked: Asked) -> Searched:
    steps, every = (4, 2) if asked.quick else (3000, 1000)
    run, arguments = studied(asked, sized(asked, 4, steps, every), {})
    papers, outside = list[Pace](), list[Pace]()

    def beside() -> None:
        with Trainings([command(asked, "papers", "vae", 2)], 2) as theirs:
            theirs.go(1)
            papers.extend(theirs.go(1 if asked.quick else STEPS["vae"]) for _ in range(asked.repeats))
        with Trainings(2 * [command(asked, "reports", "vae")], 1) as trainings:
            trainings.go(1)
            found = [trainings.go(every) for _ in range(1 if asked.quick else 2)]
            outside.extend(Pace(pace.clock / 2, pace.cpu) for pace in found)

    beside()
    with processes.Watched([sys.executable, "-m", "study", *arguments], asked.folder / "log") as watched:
        watched.wait()
    beside()
    trials = open_run(Run(run)).study.get_trials(deepcopy=False)
    began = min(trial.user_attrs[TAKEN_UP] for trial in trials)
    ended = max(trial.datetime_complete.timestamp() for trial in trials if trial.datetime_complete)
    paces = []
    for trial in trials:
        first, *_, last = reports(trial).values()
        made = steps - every
        between = [last[key] - first[key] for key in ("reported", "cpu_seconds")]
        paces.append(Pace(*(made / seconds for seconds in between)))
    of_trial = Pace(median(pace.clock for pace in paces), median(pace.cpu for pace in paces))
    return Searched(len(trials) * steps / (ended - began), of_trial, papers, outside)


def study_papers(asked: Asked) -> Sides:
    found = searched(asked)
    return Sides([(Pace(found.whole, math.nan), papers) for papers in found.papers])


def trial_alone(asked: Asked) -> Sides:
    found = searched(asked)
    return Sides([(found.trial, outside) for outside in found.outside])


# Trials of hardly any training


class Ends(NamedTuple):
    """A study that was watched, and when its trials ended, in seconds since 1970, ascending."""

    watched: processes.Watched
    when: list[float]

    def between(self, first: int, last: int) -> tuple[float, float, float]:
        """From the end of one trial to that of another, a trial: seconds by the clock, CPU of the driver and of all."""
        begin, end = self.when[first], self.when[last]
        alone, of_all = self.watched.cpu(begin, end)
        return (end - begin) / (last - first), alone / (last - first), of_all / (last - first)


def _ends(watched: processes.Watched, study: optuna.Study) -> Ends:
    trials = study.get_trials(deepcopy=False)
    return Ends(watched, sorted(t.datetime_complete.timestamp() for t in trials if t.datetime_complete))


def our_ends(asked: Asked, trials: int) -> Ends:
    """Of a study of `benchmarks.throughput`."""
    sizes = {"trials": trials, "validation": validated(asked.data, 1000)}
    run, arguments = studied(asked, throughput.PRESET, sizes)
    with processes.Watched([sys.executable, "-m", "study", *arguments], asked.folder / "log") as watched:
        watched.wait()
    return _ends(watched, open_run(Run(run)).study)


def stock_ends(asked: Asked, trials: int) -> Ends:
    """Of Ray Tune and OptunaSearch, see `benchmarks.stock`."""
    folder = asked.folder / f"stock-{len([*asked.folder.glob('stock-*')])}"
    folder.mkdir()
    line = [sys.executable, "-m", "benchmarks.stock", str(folder), "--trials", str(trials)]
    with processes.Watched(line, asked.folder / "log") as watched:
        watched.wait()
    return _ends(watched, optuna.load_study(study_name=stock.NAME, storage=stock.url(folder)))


def trial_stock(asked: Asked) -> Sides:
    """The first fifth of the trials is left out: workers start meanwhile."""
    trials, repeats = (5, 1) if asked.quick else (50, min(3, asked.repeats))
    turns = []
    for _ in range(repeats):
        both = [ends(asked, trials).between(trials // 5 - 1, trials - 1) for ends in (our_ends, stock_ends)]
        ours, theirs = (Pace(clock, of_all) for clock, _, of_all in both)
        turns.append((ours, theirs))
    return Sides(turns)


def driver_stock(asked: Asked) -> Sides:
    """The last tenth of the trials, before which the study holds all others."""
    trials = 10 if asked.quick else asked.trials
    both = [ends(asked, trials).between(trials - trials // 10 - 1, trials - 1) for ends in (our_ends, stock_ends)]
    ours, theirs = (Pace(clock, driver) for clock, driver, _ in both)
    return Sides([(ours, theirs)], note=f"the driver's CPU seconds are those of the last tenth of {trials} trials")


# What a person waits for, and what a machine must hold


def _wait_for(condition: Callable[[], object], watched: processes.Watched) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        if watched.process.poll() is not None or time.monotonic() > end:
            raise SideError(f"{watched.process.args!r} brought nothing about\n{watched.log.read_text()[-2000:]}")
        time.sleep(0.05)


def first_picture(asked: Asked) -> Sides:
    line = [sys.executable, "-m", "study", "run", "quickstart", "--root", str(asked.folder)]
    pictures = asked.folder / "quickstart" / "trials"
    with processes.Watched(line, asked.folder / "log") as watched:
        _wait_for(lambda: any(pictures.glob("*/snapshots/*.png")), watched)
        now = time.time()
        time.sleep(2 * processes.EVERY)
        seconds = Pace(now - watched.began, watched.cpu(watched.began, now)[1])
    return Sides([(seconds, None)])


def memory(asked: Asked) -> Sides:
    count = 2 if asked.quick else 8
    run, arguments = studied(
        asked, sized(asked, count, 10**6, 2 if asked.quick else 50), {"validation": validated(asked.data, 1000)}
    )
    line = [sys.executable, "-m", "benchmarks.crowded", str(count), *arguments]
    with processes.Watched(line, asked.folder / "log") as watched:
        _wait_for(lambda: len([*(run / "trials").glob("*/last.pt")]) == count, watched)
        ours = _settled([watched.process.pid])
    with Trainings(count * [command(asked, "papers", "vae")], 1) as theirs:
        theirs.go(2)
        papers = _settled([process.pid for process in theirs.processes])
    return Sides([(Pace(ours, math.nan), Pace(papers, math.nan))])


def _settled(roots: Sequence[int]) -> float:
    found = []
    for _ in range(SETTLED):
        found.append(processes.memory(roots))
        time.sleep(1)
    return median(found)


ROWS = [
    Row(
        "study-papers",
        "steps/s of a study, two trials at a time",
        "the papers' way, two threads",
        "at least",
        3.0,
        "clock",
        study_papers,
    ),
    Row(
        "trial-alone",
        "steps/s of a trial in a study",
        "the same training outside",
        "at least",
        0.97,
        "clock",
        trial_alone,
    ),
    Row(
        "trial-stock",
        "s a trial of ten reports",
        "stock Ray Tune, which only reports",
        "at most",
        1.5,
        "both",
        trial_stock,
    ),
    Row("driver-stock", "s a trial, CPU of the driver", "stock Ray Tune", "at most", 0.5, "cpu", driver_stock),
    Row("first-picture", "s to the first picture", "", "at most", 90.0, "clock", first_picture),
    Row("memory", "MiB of eight trials", "eight processes of the papers' way", "at most", 0.5, "clock", memory),
]
