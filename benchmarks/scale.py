"""What the driver of a large study takes: the real searcher, scheduler, ledger and storage, of trials that only report.

    python -m benchmarks.scale                                            # 20,000 trials, 1,000 at a time, SQLite
    python -m benchmarks.scale --trials 10000 --storage journal postgresql
    python -m benchmarks.scale --quick                                    # 3,000 trials
    python -m benchmarks.scale --curves RUN                               # curves of a study of one's own

Each trial reports five times, unless ASHA stops it; which one is next is drawn. A row for each thousand trials that
ended: the median time of a suggestion, what the driver takes for a trial and what for, how many results a second it
could take, and its peak memory. Times are of the clock, because PostgreSQL, here a server of its own, has a process of
its own; CPU seconds of the driver stand beside them.

Expected at 10,000 trials: a suggestion under 60 ms, a trial at most 1.5 times what it takes at 1,000, under 3 GiB.

What it cannot show: Ray's own part, which starts actors and carries results; a network in between; trials' own files.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import large_study, postgres
from benchmarks.simulated import Curve, Reported, Simulation
from study.record.folder import OpenRun, Run
from study.record.storage import create, open_run
from study.record.trials import reports
from study.spec import StudySpec, storage_url
from study.spec.measures import METRICS

EVERY, REPORTS = 100, 5
A_ROW = 1000  # trials
STORAGES = ("sqlite", "journal", "postgresql")
WORK = ("suggest", "judge", "write", "end")


class Row(NamedTuple):
    """What the driver took for so many trials."""

    ended: int  # trials, so far
    suggestion: float  # seconds, the median
    seconds: dict[str, float]  # a trial, by WORK
    cpu: float  # seconds a trial
    results: float  # a second
    gib: float  # so far


class Driver(Simulation):
    """A search whose trials draw one of some curves each, and report at random moments.

    Args:
        opened: a new run.
        curves: each trial has one of them, drawn.
        at_once: trials at work at a time.
    """

    def __init__(self, opened: OpenRun, curves: list[list[dict[str, Any]]], at_once: int):
        super().__init__(opened, self._drawn, at_once)
        self.curves, self.random = curves, np.random.default_rng(0)
        self.took: dict[str, list[float]] = defaultdict(list)

    def _drawn(self, config: dict[str, Any]) -> Curve:
        curve = self.curves[self.random.integers(len(self.curves))]
        return [Reported(self.random.exponential(), report) for report in curve]

    def rows(self) -> Iterator[Row]:
        """Runs all trials."""
        total, cpu = self.spec.trials, time.process_time()
        for ended, _ in enumerate(self.ends(), 1):
            if ended % A_ROW == 0 or ended == total:
                trials = ended % A_ROW or A_ROW
                seconds = {kind: sum(self.took[kind]) / trials for kind in WORK}
                results = len(self.took["judge"]) / max(1e-9, trials * sum(seconds.values()))
                median = float(np.median(self.took["suggest"] or [np.nan]))
                used = (time.process_time() - cpu) / trials
                yield Row(ended, median, seconds, used, results, large_study.peak())
                self.took.clear()
                cpu = time.process_time()

    def timed(self, kind: str, work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        found = work(*arguments, **named)
        self.took[kind].append(time.perf_counter() - began)
        return found


def specification(trials: int, storage: str | None) -> StudySpec:
    """The quickstart's space, with rungs at the first and the third of five reports."""
    given: dict[str, Any] = {
        "fixed": {"latent": 50, "alpha": 0.2, "beta": 1.0, "kl_warmup": 0.0},
        "budget": {"steps": EVERY * REPORTS, "report_every": EVERY},
        "asha": {"grace": EVERY},
    }
    return StudySpec(name="scale", model="vsc", dataset="mnist5k", trials=trials, storage=storage, **given)


def drawn_curves(random: np.random.Generator, count: int = 1000) -> list[list[dict[str, Any]]]:
    """Curves that rise to a level of their own."""
    levels = -110 - 40 * random.random(count)
    made = [[large_study.drawn_report(random, level - 200 / i, 0) for i in range(1, REPORTS + 1)] for level in levels]
    return [[_as_reported(report, i) for i, report in enumerate(each, 1)] for each in made]


def stored_curves(run: Run) -> list[list[dict[str, Any]]]:
    """The first five reports of each trial of a study that has so many, as if they were all."""
    opened = open_run(run)
    every = [list(reports(trial).values())[:REPORTS] for trial in opened.study.get_trials(deepcopy=False)]
    curves = [[_as_reported(report, i) for i, report in enumerate(each, 1)] for each in every if len(each) == REPORTS]
    if not curves:
        raise SystemExit(f"{run.path} has no trial with {REPORTS} reports; name a study that has")
    return curves


def _as_reported(stored: dict[str, Any], i: int) -> dict[str, Any]:
    """What a trial reports, of the i-th that it stored."""
    return {**stored, "steps": EVERY * i, "measures": [name for name in METRICS if name in stored]}


def simulated(storage: str, trials: int, at_once: int, curves: list[list[dict[str, Any]]]) -> Iterator[Row]:
    """The rows of a new study in a storage, which is gone afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scale")))
        where = {"sqlite": None, "journal": storage_url.JOURNAL}
        if storage == "postgresql":
            where[storage] = stack.enter_context(postgres.server()).url
        spec, run = specification(trials, where[storage]), Run(folder / "scale")
        create(run, spec)
        yield from Driver(open_run(run, spec, create=True), curves, at_once).rows()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--at-once", type=int, default=1000)
    parser.add_argument("--storage", nargs="+", choices=STORAGES, default=["sqlite"])
    parser.add_argument("--curves", type=Path, help="a run folder whose reports are made again")
    parser.add_argument("--quick", action="store_true", help="3,000 trials")
    arguments = parser.parse_args()
    trials = 3000 if arguments.quick else arguments.trials
    curves = stored_curves(Run(arguments.curves)) if arguments.curves else drawn_curves(np.random.default_rng(0))
    for storage in arguments.storage:
        print(f"\n{storage}, {trials:,} trials, {arguments.at_once:,} at a time; milliseconds a trial")
        print(
            f"{'ended':>7s} {'a suggestion':>13s} {' '.join(f'{kind:>8s}' for kind in WORK)} {'all':>8s} "
            f"{'of CPU':>8s} {'results/s':>10s} {'GiB':>6s}"
        )
        for row in simulated(storage, trials, arguments.at_once, curves):
            parts = " ".join(f"{1000 * row.seconds[kind]:8.1f}" for kind in WORK)
            print(
                f"{row.ended:7d} {1000 * row.suggestion:13.1f} {parts} {1000 * sum(row.seconds.values()):8.1f} "
                f"{1000 * row.cpu:8.1f} {row.results:10.0f} {row.gib:6.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
