"""How good a best a search finds, by sampler and by how many trials it draws at random first, on a stand-in of a study.

    python -m benchmarks.samplers runs/quickstart-full --sampler tpe --startup 4 --startup 10 --seeds 100

The stand-in is a regression of the full trials of a study: a random forest, or a Gaussian process, whose mean is what a
configuration reaches. A search of it takes a second instead of an hour; the numbers are regrets to the best of 20,000
random configurations, in the unit of the objective. The samplers and the settings are the project's own. What a
stand-in lacks: it has no seeds, knows little where the study has no trial, and stops nobody early.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from benchmarks.markdown import table
from study.record.folder import RunError, find
from study.record.sampling import sampler
from study.record.storage import open_run
from study.spec import SpecError, StudySpec

AFTER = (16, 32, 64)  # trials, after which the best so far is taken
AT_RANDOM = 20_000  # configurations, to the best of which a search is compared


def point(params: Mapping[str, Any], drawn: Mapping[str, BaseDistribution]) -> NDArray[np.float64]:
    """What was drawn, each number in [0, 1] across its range, each category a coordinate of its own."""
    found: list[float] = []
    for name, distribution in drawn.items():
        if isinstance(distribution, CategoricalDistribution):
            found += [float(params[name] == choice) for choice in distribution.choices]
            continue
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        scale = math.log if distribution.log else float
        low, high = scale(distribution.low), scale(distribution.high)
        found.append((scale(params[name]) - low) / (high - low))
    return np.array(found)


class StandIn:
    """A regression of a study's complete trials on what they drew.

    Args:
        spec: of the study.
        trials: its complete ones.
        kind: forest or gp.
    """

    def __init__(self, spec: StudySpec, trials: Sequence[FrozenTrial], kind: str):
        self.spec, self.drawn = spec, spec.distributions()
        points = np.stack([point(trial.params, self.drawn) for trial in trials])
        values = np.array([trial.values[0] for trial in trials])
        if kind == "forest":
            self.model: Any = RandomForestRegressor(100, min_samples_leaf=2, random_state=0)
        else:
            kernel = ConstantKernel() * Matern(np.ones(points.shape[1]), nu=2.5) + WhiteKernel(0.1)
            self.model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
        with warnings.catch_warnings():  # of length scales without a limit: of what does not matter
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model.fit(points, values)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
        at_random = [study.ask(self.drawn).params for _ in range(AT_RANDOM)]
        self.best = float(self.model.predict(np.stack([point(params, self.drawn) for params in at_random])).max())

    def value(self, params: Mapping[str, Any]) -> float:
        """What a configuration reaches."""
        at = point(params, self.drawn)[None]
        if isinstance(self.model, RandomForestRegressor):  # tree by tree, which for one point takes a tenth of the time
            one = at.astype(np.float32)
            return float(np.mean([tree.tree_.predict(one)[0, 0] for tree in self.model.estimators_]))
        return float(self.model.predict(at)[0])

    def regrets(self, spec: StudySpec, trials: int) -> list[float]:
        """Those of one search after each number of AFTER."""
        study = optuna.create_study(direction="maximize", sampler=sampler(spec, 0))
        if spec.first == "defaults":
            study.enqueue_trial(spec.default_draws(within=True))
        values: list[float] = []
        for _ in range(trials):
            trial = study.ask()
            spec.draw(trial)
            values.append(self.value(trial.params))
            study.tell(trial, values[-1])
        return [self.best - max(values[:after]) for after in AFTER if after <= trials]


def measure(stand_in: StandIn, given: argparse.Namespace, **changes: Any) -> list[str]:
    """A row: mean regret over the seeds, with its standard error."""
    found, started = [], time.perf_counter()
    for seed in range(given.seeds):
        spec = stand_in.spec.model_copy(update={"seed": seed, "trials": given.trials, "asha": None, **changes})
        found.append(stand_in.regrets(spec, given.trials))
    each = (time.perf_counter() - started) / given.seeds / given.trials
    columns = np.array(found).T
    shown = [f"{np.mean(column):.2f} ± {np.std(column) / math.sqrt(len(column)):.2f}" for column in columns]
    startup = str(changes.get("startup") or "")
    return [str(changes["sampler"]), startup, changes["first"], *shown, f"{1000 * each:.0f} ms"]


def positive(text: str) -> int:
    """An argument of the command line that counts something."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def main() -> None:
    """The command."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--stand-in", choices=("forest", "gp"), default="forest")
    parser.add_argument("--sampler", action="append", required=True, choices=("tpe", "gp", "cmaes", "random"))
    parser.add_argument("--startup", action="append", type=positive, help="of tpe and gp")
    parser.add_argument("--first", action="append", choices=("defaults", "drawn"))
    parser.add_argument("--seeds", type=positive, default=100)
    parser.add_argument("--trials", type=positive, default=max(AFTER), help=f"{AFTER[0]} or more")
    given = parser.parse_args()
    if given.trials < AFTER[0]:
        parser.error(f"--trials: needs {AFTER[0]} or more, after which regrets are told; got {given.trials}")
    try:
        run = find(given.run)
        opened = open_run(run)
    except (RunError, SpecError) as error:
        parser.error(str(error))
    complete = opened.study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    if len(complete) < 2:
        parser.error(f"{run.path}: needs complete trials to fit a regression on; has {len(complete)}")
    stand_in = StandIn(opened.spec, complete, given.stand_in)
    print(f"{run.name}: {len(complete)} complete trials, {given.stand_in}", file=sys.stderr)
    heads = ["sampler", "startup", "first", *(f"after {n}" for n in AFTER if n <= given.trials), "a trial"]
    rows = []
    for name in given.sampler:
        for startup in given.startup or [None]:
            for first in given.first or ["drawn"]:
                rows.append(measure(stand_in, given, sampler=name, startup=startup, first=first))
                print(*rows[-1], sep="   ", file=sys.stderr, flush=True)
    print(table(heads, rows))


if __name__ == "__main__":
    main()
