"""A search by Ray Tune with its own OptunaSearch, as their documentation has it, of trials that report and do no more:

    python -m benchmarks.stock FOLDER --trials 50

The space is that of `benchmarks.throughput`, and so are the reports a trial; the study is in an SQLite file, actors are
reused. Nothing is trained, evaluated, saved or drawn.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import optuna
import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from benchmarks.throughput import PRESET, REPORTS
from study.machine import cpus
from study.spec import StudySpec

NAME = "stock"


class Reporting(tune.Trainable):
    """A trial whose reports say how far its learning rate is from 1e-3."""

    def setup(self, config: dict[str, Any]) -> None:
        self.value, self.reports = -abs(math.log10(config["lr"]) + 3), 0

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        self.reports += 1
        return {"elbo": self.value - 1 / self.reports, "done": self.reports == REPORTS}


def url(folder: Path) -> str:
    """Of the study's storage."""
    return f"sqlite:///{folder.absolute()}/optuna.db"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=50)
    given = parser.parse_args()
    ray.init(num_cpus=cpus(), include_dashboard=False)
    space = StudySpec.model_validate({**PRESET, "trials": given.trials}).distributions()
    storage = optuna.storages.RDBStorage(url(given.folder))
    tuner = tune.Tuner(
        Reporting,
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(space, metric="elbo", mode="max", study_name=NAME, storage=storage),
            num_samples=given.trials,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=NAME,
            storage_path=str(given.folder.absolute()),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    tuner.fit()


if __name__ == "__main__":
    main()
