"""What a search finds and in what time: ours against a random one of full trials, and against Optuna alone.

    python -m benchmarks.search train --root searches [--on vsc vae factor] [--seeds 3]
    python -m benchmarks.search replay RUN... --asha "{grace: 200}" [--seeds 10] [--trials 64]

Three ways, with as many processes each:

- random: of the same space, every trial to its full budget, by `python -m study run`;
- optuna: its TPE and its median pruner as they are if nothing is said, with `Study.optimize` in as many processes on
  one SQLite file, our models and data in a loop that evaluates, reports and asks whether to stop; no checkpoint, no
  curve, no picture;
- ours: the preset, by `python -m study run`.

`train` trains: 24 trials of VSC and of a VAE on `mnist5k`, 16 of a FactorVAE on `sprites`; what --root holds is not
done again. `replay` takes the full random trials of a study and trains nothing: a forest of regression trees says of
any configuration what its curve is and how long it takes, a mean of the stored trials' that are like it. It has no
seeds of the training, and knows little where the study has no trial. The search in it is the real one, but for Ray;
each --asha is judged with random trials as well.

A row has medians over the seeds, least and most in brackets. Each search is compared with the random one of its seed:

- best: of the complete trials, the objective; better: by how much more than random's;
- steps, time: of the whole search, as shares of random's; time is from the first trial's start to the last one's end;
- as good after: when the best complete trial was first no worse than random's last best, as a share of random's time,
  and in how many of the seeds it was.
"""

from __future__ import annotations

import argparse
import heapq
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from optuna.study import MaxTrialsCallback
from optuna.trial import FrozenTrial, TrialState
from sklearn.ensemble import RandomForestRegressor

import study
from benchmarks.markdown import table
from benchmarks.samplers import point, positive
from benchmarks.simulated import Curve, Reported, Simulation
from study.record.folder import Run, RunError, find
from study.record.storage import create, open_run
from study.record.trials import reports
from study.spec import SpecError, StudySpec
from study.spec.measures import METRICS
from study.trial.seeds import derived_seed
from study.trial.training import NonFiniteLossError, Training
from study.trial.trial import load_data

PROJECT = Path(__file__).resolve().parent.parent
WORKERS = 2
SCREENED = ["budget.steps=600", "budget.report_every=100"]
NARROW = [f"fixed={{network: mlp, latent: 10, discriminator_hidden: {5 * [100]}}}", "space={}", "sampler=tpe"]
NARROW += ["validation.images=1000", "asha={grace: 100, mode: promote}"]
PRESETS: dict[str, Sequence[str]] = {
    "vsc": ["quickstart", "trials=24"],
    "vae": ["vae-mnist", "trials=24", "dataset=mnist5k", *SCREENED, "asha.grace=200"],
    "factor": ["factor-sprites", "trials=16", *SCREENED, *NARROW],
}  # what is trained: a preset, and what is set of it
RANDOM = ["sampler=random", "asha=null", "first=drawn"]
WAYS = ("random", "optuna", "ours")
FEWEST = 8  # trials that a regression is fitted on


class Found(NamedTuple):
    """What one search came to."""

    steps: int
    seconds: float  # from the first trial's start to the last one's end
    best: list[tuple[float, float]]  # (seconds, value) of each complete trial that was better than all before

    def as_good(self, value: float) -> float:
        """When it had found a trial no worse than that; infinite if it never did."""
        return next((seconds for seconds, reached in self.best if reached >= value), math.inf)


def found(ends: Iterable[tuple[float, float]], steps: int, seconds: float) -> Found:
    """Sums a search up.

    Args:
        ends: (seconds, value) of the complete trials.
        steps, seconds: of the search.
    """
    best: list[tuple[float, float]] = []
    for end in sorted(ends):
        if not best or end[1] > best[-1][1]:
            best.append(end)
    return Found(steps, seconds, best)


def of_study(searched: optuna.Study) -> Found:
    """What a search came to that was done."""
    trials = searched.get_trials(deepcopy=False)
    began = min(trial.datetime_start for trial in trials if trial.datetime_start)
    after = {t.number: (t.datetime_complete - began).total_seconds() for t in trials if t.datetime_complete}
    complete = [(after[t.number], t.values[0]) for t in trials if t.state == TrialState.COMPLETE]
    return found(complete, sum(max(t.intermediate_values, default=0) for t in trials), max(after.values()))


# Searches that train


def overridden(on: str, way: str, seed: int) -> tuple[str, list[str]]:
    """The preset of one search that trains, and what is set of it."""
    preset, *given = PRESETS[on]
    return preset, [*given, *(RANDOM if way == "random" else []), f"seed={seed}", f"name={on}-{way}-{seed}"]


def specification(on: str, way: str, seed: int) -> StudySpec:
    """Of one search that trains."""
    return study.load(*overridden(on, way, seed))


def trained(on: str, way: str, seed: int, root: Path, data: str | None) -> Found:
    """A search that trains, unless it is there already."""
    spec = specification(on, way, seed)
    folder = root / spec.name
    if way == "optuna":
        return of_study(alone(spec, folder, data))
    preset, given = overridden(on, way, seed)
    work = ["resume", str(folder)]
    if not folder.is_dir():
        work = ["run", preset, *(f"--set={one}" for one in given), "--root", str(root)]
    command = [sys.executable, "-m", "study", *work, *(["--data", data] if data else [])]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(root / f"{spec.name}.log", "a") as log:
        code = subprocess.run(command, cwd=PROJECT, stdout=log, stderr=log, env=env).returncode
    if code not in (0, 3):  # with 3 some of the trials failed, which a search may
        raise SystemExit(f"{' '.join(command)} ended with {code}; see {log.name}")
    return of_study(open_run(Run(folder)).study)


def alone(spec: StudySpec, folder: Path, data: str | None) -> optuna.Study:
    """A search by Optuna alone, of a specification's space, data and budget."""
    url = f"sqlite:///{folder}/optuna.db"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        optuna.create_study(study_name=spec.name, storage=url, direction="maximize")
        spawned = multiprocessing.get_context("spawn")
        processes = [spawned.Process(target=_optimize, args=(spec, url, data, worker)) for worker in range(WORKERS)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
            if process.exitcode:
                raise SystemExit(f"a process of Optuna's ended with {process.exitcode}; remove {folder}")
    return optuna.load_study(study_name=spec.name, storage=url)


def _optimize(spec: StudySpec, url: str, data: str | None, worker: int) -> None:
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    splits = load_data(spec, data)

    def objective(trial: optuna.Trial) -> float:
        training = Training(spec, spec.draw(trial), splits, seed=derived_seed(spec.seed, trial.number))
        while True:
            training.advance(spec.report_every)
            value = training.evaluate()[spec.objectives[0]]
            trial.report(value, training.step)
            if training.step == spec.steps:
                return value
            if trial.should_prune():
                raise optuna.TrialPruned

    sampler = optuna.samplers.TPESampler(seed=derived_seed(spec.seed, worker))
    searched = optuna.load_study(study_name=spec.name, storage=url, sampler=sampler)
    until = MaxTrialsCallback(spec.trials, states=None)
    searched.optimize(objective, callbacks=[until], catch=(NonFiniteLossError,))


# Searches of a study's curves


class Curves:
    """What a configuration of a study reaches and when, as a regression of the study's full trials.

    Args:
        runs: of studies of one space and budget without ASHA.

    Raises:
        RunError: one cannot be opened, its trials are not random full ones or not of the first one's space and budget,
            or there are too few.
    """

    def __init__(self, *runs: Run):
        studies, trials = [open_run(run) for run in runs], list[FrozenTrial]()
        self.spec, self.drawn = studies[0].spec, studies[0].spec.distributions()
        for run, spec, searched in studies:
            trials += searched.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
            if (spec.distributions(), spec.budget, spec.model) != (self.drawn, self.spec.budget, self.spec.model):
                raise RunError(f"{run.path}: needs the model, space and budget of {runs[0].path}; has others")
        run = runs[0]
        if self.spec.asha is not None or self.spec.sampler != "random" or len(trials) < FEWEST:
            rungs = "without ASHA" if self.spec.asha is None else "with ASHA"
            raise RunError(
                f"{run.path}: needs {FEWEST} complete trials at least, drawn at random and none stopped; has "
                f"{len(trials)}, of sampler {self.spec.sampler} {rungs}; "
                "run one with --set asha=null --set sampler=random"
            )
        made = [reports(trial) for trial in trials]
        self.steps = list(range(self.spec.report_every, self.spec.steps + 1, self.spec.report_every))
        self.template = {name: value for name, value in made[0][self.spec.steps].items() if name in METRICS}
        objective = self.spec.objectives[0]
        told = np.array([[each[step][objective] for step in self.steps] for each in made], dtype=float)
        took = np.array([[math.log(each[self.spec.steps]["seconds"])] for each in made])
        numbers = np.concatenate([told, took], axis=1)
        self.centre, self.scale = numbers.mean(0), numbers.std(0)  # so that no report counts for more than another
        self.forest = RandomForestRegressor(100, min_samples_leaf=2, random_state=0)
        self.forest.fit(np.stack([point(t.params, self.drawn) for t in trials]), (numbers - self.centre) / self.scale)

    def numbers(self, params: dict[str, Any]) -> NDArray[np.float64]:
        """The objective at each report, and the seconds of the whole trial."""
        one = point(params, self.drawn)[None].astype(np.float32)
        of_trees = [tree.tree_.predict(one).reshape(-1) for tree in self.forest.estimators_]
        values = np.mean(of_trees, axis=0) * self.scale + self.centre
        return np.array([*values[:-1], math.exp(values[-1])])

    def curve(self, params: dict[str, Any]) -> Curve:
        """What a simulated trial reports."""
        *values, seconds = self.numbers(params).tolist()
        each, objective = seconds / len(values), self.spec.objectives[0]
        return [
            Reported(
                each,
                {
                    **self.template,
                    objective: value,
                    "steps": step,
                    "seconds": each * i,
                    "cpu_seconds": each * i,
                    "train": [],
                    "measures": [*self.template],
                },
            )
            for i, (step, value) in enumerate(zip(self.steps, values), 1)
        ]

    def ours(self, spec: StudySpec) -> Found:
        """A search by the project's own searcher, scheduler and ledger."""
        with tempfile.TemporaryDirectory() as folder:
            run = Run(Path(folder) / spec.name)
            create(run, spec)
            opened = open_run(run, spec, create=True)
            searched = opened.study

            def curve(config: dict[str, Any]) -> Curve:
                return self.curve(searched.get_trials(deepcopy=False)[config["number"]].params)

            ends, steps, seconds = [], {}, 0.0
            for seconds, trial in Simulation(opened, curve, WORKERS).ends():
                report = trial.last_result
                steps[trial.config["number"]] = report["steps"]
                if report["steps"] == spec.steps:
                    ends.append((seconds, report[spec.objectives[0]]))
            return found(ends, sum(steps.values()), seconds)

    def optuna(self, spec: StudySpec) -> Found:
        """A search by Optuna's TPE and median pruner as they are if nothing is said."""
        searched = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=spec.seed))
        at_work: list[tuple[float, int, optuna.Trial, list[Reported]]] = []  # a heap: when each reports, by number
        ends, steps, now, objective = list[tuple[float, float]](), 0, 0.0, spec.objectives[0]
        while True:
            while len(at_work) < WORKERS and len(searched.trials) < spec.trials:
                trial = searched.ask()
                spec.draw(trial)
                left = [*self.curve(trial.params)]
                heapq.heappush(at_work, (now + left[0].seconds, trial.number, trial, left))
            if not at_work:
                return found(ends, steps, now)
            now, number, trial, (reported, *left) = heapq.heappop(at_work)
            value, steps = reported.report[objective], steps + spec.report_every
            trial.report(value, reported.report["steps"])
            if not left:
                searched.tell(trial, value)
                ends.append((now, value))
            elif trial.should_prune():
                searched.tell(trial, state=TrialState.PRUNED)
            else:
                heapq.heappush(at_work, (now + left[0].seconds, number, trial, left))


# The table


def shown(values: Sequence[float], written: str) -> str:
    """Median, least and most."""
    cells = [format(v, written) if v < math.inf else "never" for v in (median(values), min(values), max(values))]
    return cells[0] if len(values) == 1 else f"{cells[0]} [{cells[1]}, {cells[2]}]"


HEADS = ["search", "best", "better", "steps", "time", "as good after"]


def row(name: str, searches: Sequence[Found], at_random: Sequence[Found]) -> list[str]:
    """What one way came to over the seeds, beside random searches of the same seeds."""
    pairs = list(zip(searches, at_random, strict=True))
    after = [one.as_good(other.best[-1][1]) / other.seconds for one, other in pairs]
    return [
        name,
        shown([one.best[-1][1] for one in searches], ".2f"),
        shown([one.best[-1][1] - other.best[-1][1] for one, other in pairs], "+.2f"),
        shown([one.steps / other.steps for one, other in pairs], ".0%"),
        shown([one.seconds / other.seconds for one, other in pairs], ".0%"),
        f"{shown(after, '.0%')}, {sum(share < math.inf for share in after)} of {len(after)}",
    ]


def train(given: argparse.Namespace) -> None:
    """The table of searches that train."""
    given.root.mkdir(parents=True, exist_ok=True)
    searches: dict[tuple[str, str], list[Found]] = {(on, way): [] for on in given.on for way in WAYS}
    for seed in range(given.seeds):
        for on, way in searches:
            searches[on, way].append(trained(on, way, seed, given.root.resolve(), given.data))
            print(*row(f"{on}, {way}", searches[on, way][-1:], searches[on, "random"][-1:]), sep="   ", file=sys.stderr)
    lines = [row(f"{on}, {way}", each, searches[on, "random"]) for (on, way), each in searches.items()]
    print(table(HEADS, lines))


def replay(given: argparse.Namespace) -> None:
    """The table of searches of the curves of studies."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lines = []
    runs = [find(run) for run in given.run]
    for several in [runs] if given.as_one else [[run] for run in runs]:
        run, curves, seeds = several[0], Curves(*several), range(given.seeds)
        settings = {
            "random": ("ours", RANDOM),
            "optuna": ("optuna", RANDOM),
            **{
                f"{sampler}, {asha}": ("ours", [f"sampler={sampler}", f"asha={asha}", f"first={first}"])
                for sampler, first in (("random", "drawn"), ("tpe", "defaults"))
                for asha in given.asha
            },
        }
        specs = {
            name: [study.load(run.study_yaml, [*sets, f"trials={given.trials}", f"seed={seed}"]) for seed in seeds]
            for name, (_, sets) in settings.items()
        }
        searches: dict[str, list[Found]] = {}
        for name, (way, _) in settings.items():
            searches[name] = [getattr(curves, way)(spec) for spec in specs[name]]
            lines.append(row(f"{run.name}: {name}", searches[name], searches["random"]))
            print(*lines[-1], sep="   ", file=sys.stderr, flush=True)
    print(table(HEADS, lines))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = parser.add_subparsers(required=True)
    one = ways.add_parser("train", help="searches that train")
    one.add_argument("--on", nargs="+", choices=PRESETS, default=[*PRESETS])
    one.add_argument("--seeds", type=positive, default=3)
    one.add_argument("--root", type=Path, default=Path("searches"), help="folder of the runs")
    one.add_argument("--data", help="root of the data sets")
    one.set_defaults(work=train)
    one = ways.add_parser("replay", help="searches of a study's curves")
    one.add_argument("run", nargs="+", help="a study of random trials without ASHA")
    one.add_argument("--seeds", type=positive, default=10)
    one.add_argument("--trials", type=positive, default=64)
    one.add_argument("--as-one", action="store_true", help="the runs are one study, of several seeds")
    one.add_argument("--asha", action="append", required=True, help="as in a preset; may be repeated")
    one.set_defaults(work=replay)
    given = parser.parse_args()
    try:
        given.work(given)
    except (RunError, SpecError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
