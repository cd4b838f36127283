"""What the figures of a run are made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

import models
from analysis import tables
from imagesets import Splits
from study.export import Best, NoneCompleteError, best
from study.record.confirmation import DEFAULTS
from study.record.folder import OpenRun, Run
from study.record.storage import KIND, check_data, open_run
from study.trial import snapshot
from study.trial.evaluation import evaluating
from study.trial.images import Images, images_of
from study.trial.trial import load_data

CODED = 2000  # images whose codes are shown


class Results:
    """A run's tables, its best model and the images to show it; each is read when it is first asked for.

    Args:
        run: its folder.
        data: root of the data sets; None is the default one.
        name: what the run is called in pictures and tables; if not given, by its folder.
    """

    def __init__(self, run: Run, data: str | None = None, name: str | None = None):
        self.run, self.spec, self._data = run, run.spec(), data
        self.name = run.name if name is None else name

    @cached_property
    def opened(self) -> OpenRun:
        """The run with its study, to be read."""
        return open_run(self.run)

    @property
    def measure(self) -> str:
        """What the run's trials are compared on: its first objective."""
        return self.spec.objectives[0]

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row a trial."""
        return tables.called(tables.trials(self.run.path), self.name)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row a report."""
        return tables.curves(self.run.path)

    @cached_property
    def train(self) -> pd.DataFrame:
        """One row a logged training step."""
        return tables.train(self.run.path)

    @cached_property
    def confirmed(self) -> pd.DataFrame:
        """One row a (configuration, seed); empty if nothing is confirmed."""
        return tables.called(tables.confirmed(self.run.path), self.name)

    @cached_property
    def best(self) -> Best:
        """The best checkpoint; errors as of `study.export.best`."""
        return best(self.opened)

    @cached_property
    def splits(self) -> Splits:
        """The images as they are stored.

        Raises:
            DataError: the data set is not there.
            RunError: the images are not those that the study was made with.
        """
        check_data(self.opened)
        return load_data(self.spec, self._data)

    @cached_property
    def lacking(self) -> NoneCompleteError | None:
        """Why there is no best checkpoint yet; None where there is one. Raises what else `best` does."""
        try:
            _ = self.best
        except NoneCompleteError as error:
            return error
        return None

    @cached_property
    def valid(self) -> Images:
        """The validation images, as the model sees them; errors as of `splits`."""
        return images_of(self.splits, "valid", self.spec.preprocessing, self.spec.pairing)

    @cached_property
    def codes(self) -> NDArray[np.float64]:
        """The best model's codes of the first validation images, CODED at most, [N, Z]."""
        with evaluating(self.best.model, self.valid):
            codes = torch.cat([self.best.model.codes(x) for x in self.valid.batches(first=CODED)])
        return codes.double().cpu().numpy()

    @cached_property
    def snapshot(self) -> dict[str, NDArray]:
        """What the best model makes of the first validation images, and a traversal."""
        return snapshot.take(self.best.model, self.valid)

    @property
    def folder(self) -> Path:
        """That of the training which the best model comes from."""
        number = self.best.number
        return self.run.trial(number) if self.spec.trials else self.run.confirmation(DEFAULTS, number)

    @property
    def which(self) -> str:
        """The best model, in a title."""
        number = self.best.number
        return f"{f'trial {number}' if self.spec.trials else f'seed {number + 1}'} of {self.name}"

    @property
    def about(self) -> pd.DataFrame:
        """What the run's ELBOs are, see `tables.COMPARABLE`: its trials, or where there was no search, a row."""
        if self.spec.trials:
            return self.trials
        kind = self.opened.study.user_attrs.get(KIND)
        values = (self.spec.data, self.spec.pixels, self.spec.likelihood, kind)
        return pd.DataFrame([dict(zip(tables.COMPARABLE, values, strict=True))])

    @property
    def kind(self) -> str:
        """What the ELBOs of the run are, in a note."""
        elbo = "ELBO" if models.objective(self.spec.model) == "elbo" else "log p(x), importance-weighted,"
        return f"{elbo} is a {self.about['kind'].iloc[0]} of {self.spec.pixels} images"


def beside(runs: Sequence[Run], data: str | None = None) -> list[Results]:
    """Of several runs, each under a name of its own, see `tables.names`."""
    return [Results(run, data, name) for run, name in zip(runs, tables.names(runs))]
