"""A study of 10,000 trials with 20 reports each: how long its tables and its report take, and how much memory.

    python -m benchmarks.large_study [--trials 10000] [--reports 20] [--root large]

The run is made once, under --root: nothing is trained but one small model, whose checkpoint all complete trials would
have; what trials report is drawn. A row is a process of its own: CPU seconds, seconds by the clock, its peak memory.

Expected, of tables that are up to date: `analysis.trials` under 5 s, the report under 60 s of CPU, both under 2 GiB.
Two cores, kept busy by other work, took in seconds of CPU with imports: 3.3 for `analysis.trials` (0.42 GiB), 4.1 for
all tables as Markdown, 14 to make the tables again, about 80 to make the run. The dashboard answered for the study's
page after 3.2 s, and after 1.2 s when it was loaded again; Chromium had the list of studies after 2 s by the clock, the
page after 8 s and the table of trials after 13 s. Before a trial's settings were read faster, and with 10,000 curves on
the page, the first answer took 14.7 s and the page 40 s.

The report took 45 s, 42 s by the clock, and 1.19 GiB; forests of the figure `importance` learn from 300 trials each.
With all 2,950 complete trials it took 223 s: a forest takes 3.2 s of 500 trials, 7.6 s of 1,000, 21 s of 2,000.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial
from optuna_dashboard import wsgi

import imagesets
from study.dashboard.pictures import Pictures
from study.dashboard.view import View
from study.record import tables
from study.record.folder import Run
from study.record.storage import describe_data, open_run
from study.record.trials import REPORT
from study.spec import StudySpec
from study.spec.measures import METRICS, VERSIONS, versions
from study.trial.seeds import derived_seed
from study.trial.trial import Trial

NAME = "large"
EVERY = 100  # steps from report to report
LIKELY = {TrialState.COMPLETE: 0.3, TrialState.PRUNED: 0.65, TrialState.FAIL: 0.05}
FAILURES = ("nan: the loss of 'elbo' was not finite", "oom: not enough memory", "lost: the worker's process ended")


def make(root: Path, trials: int, reports: int) -> Run:
    """The run, unless it is there: trial 0 is trained, the others are drawn."""
    run = Run(root / NAME)
    if run.study_yaml.is_file():
        return run
    budget = {"steps": reports * EVERY, "report_every": EVERY, "batch": 32}
    pins = {"latent": 10, "beta": 1.0, "kl_warmup": 0.0, "posterior": "gaussian", "prior": "standard"}
    given: dict[str, Any] = {"model": "vae", "dataset": "mnist5k", "fixed": pins, "budget": budget}
    how: dict[str, Any] = {"sampler": "random", "storage": "journal", "validation": {"images": 100}}
    spec = StudySpec(name=NAME, trials=trials, **given, **how)
    run.create(spec)
    opened, splits = open_run(run, spec, create=True), imagesets.load(spec.dataset)
    describe_data(opened, splits)
    study, random = opened.study, np.random.default_rng(0)
    trial = Trial(spec, spec.defaults(), splits, seed=derived_seed(0, 0), folder=run.trial(0))
    while not trial.done:
        trial.report()
    trial.close()
    study.add_trials(_drawn(spec, random, trials, reports))
    tables.write(run)
    return run


def _drawn(spec: StudySpec, random: np.random.Generator, trials: int, reports: int) -> Iterator[FrozenTrial]:
    distributions = spec.distributions()
    for number in range(trials):
        state = list(LIKELY)[random.choice(len(LIKELY), p=list(LIKELY.values()))] if number else TrialState.COMPLETE
        made = reports if state == TrialState.COMPLETE else int(random.integers(1, reports))
        best = -105.0 if not number else -110 - 40 * random.random()  # trial 0, which has a checkpoint, is the best
        kept = {f"{REPORT}{EVERY * i}": drawn_report(random, best - 200 / i, EVERY * i) for i in range(1, made + 1)}
        cause = {"cause": FAILURES[random.integers(len(FAILURES))]} if state == TrialState.FAIL else {}
        value = kept[f"{REPORT}{EVERY * made}"]["elbo"]
        drawn = {name: space.to_external_repr(_between(random, space)) for name, space in distributions.items()}
        yield create_trial(
            state=state,
            value=value if state == TrialState.COMPLETE else None,
            params=drawn,
            distributions=distributions,
            user_attrs={**kept, **cause},
            intermediate_values={EVERY * i: kept[f"{REPORT}{EVERY * i}"]["elbo"] for i in range(1, made + 1)},
        )


def drawn_report(random: np.random.Generator, elbo: float, steps: int) -> dict[str, Any]:
    measures = {name: float(random.random()) for name in METRICS} | {"elbo": elbo, "reconstruction": elbo + 20}
    times = {
        "seconds": steps / 50,
        "cpu_seconds": steps / 60,
        "reported": 1.8e9 + steps,
        "train": [[steps, {"elbo": -elbo}]],
    }
    return {**measures, **times, VERSIONS: versions(METRICS)}


def _between(random: np.random.Generator, space: Any) -> float:
    if isinstance(space, optuna.distributions.CategoricalDistribution):
        return float(random.integers(len(space.choices)))
    drawn = float(np.exp(random.uniform(np.log(space.low), np.log(space.high))))
    return round(drawn) if isinstance(space, optuna.distributions.IntDistribution) else drawn


def read(run: Run) -> str:
    import analysis

    return f"{len(analysis.trials(run.path)):,} trials"


def read_curves(run: Run) -> str:
    import analysis

    return f"{len(analysis.curves(run.path)):,} reports"


def made_again(run: Run) -> str:
    for name in tables.TABLES:
        run.table(name).unlink()
    return read(run)


def summarised(run: Run) -> str:
    import analysis
    from analysis.formats import document

    return f"{len(document('md', analysis.trials(run.path), analysis.confirmed(run.path))) / 1e6:.1f} MB"


def browsed(run: Run) -> str:
    """What a browser asks for when it opens the study's page, and when that is loaded again."""
    opened, pictures = open_run(run), Pictures(run)
    app = wsgi(View(opened, pictures), artifact_store=pictures)
    request: dict[str, Any] = {"PATH_INFO": f"/api/studies/{opened.study._study_id}"}
    setup_testing_defaults(request)

    def asked() -> tuple[float, float]:
        begun = time.process_time()
        size = len(b"".join(app(dict(request), lambda *_: None)))
        return time.process_time() - begun, size / 1e6

    (first, size), (again, _) = asked(), asked()
    return f"{size:.1f} MB after {first:.1f} s of CPU, again after {again:.1f} s"


def reported(run: Run) -> str:
    from analysis.figures import Results
    from analysis.report import report

    return f"{len(report([Results(run)])) / 1e6:.1f} MB"


WORK: dict[str, Callable[[Run], str]] = {
    "analysis.trials": read,
    "analysis.curves": read_curves,
    "analysis.trials, tables made again": made_again,
    "all tables as Markdown": summarised,
    "dashboard, the study's page": browsed,
    "report": reported,
}


def peak() -> float:
    """GiB of memory that this process had at most; what `getrusage` says is also of the one that started it."""
    [size] = re.findall(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(size) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--reports", type=int, default=20)
    parser.add_argument("--root", type=Path, default=Path("large"))
    parser.add_argument("--one", choices=WORK, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    run = make(arguments.root, arguments.trials, arguments.reports)
    if arguments.one:
        begun, found = time.perf_counter(), WORK[arguments.one](run)
        took, used = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
        print(f"{arguments.one:36s} {used.ru_utime + used.ru_stime:8.1f} {took:8.1f} {peak():8.2f}   {found}")
        return
    print(f"{'':36s} {'CPU s':>8s} {'clock s':>8s} {'GiB':>8s}", flush=True)
    for name in WORK:
        again = [sys.executable, "-m", "benchmarks.large_study", *sys.argv[1:], "--one", name]
        subprocess.run(again, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


if __name__ == "__main__":
    main()
