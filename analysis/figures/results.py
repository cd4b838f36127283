"""What the figures of a run are made of."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

import models
from analysis import tables
from imagesets import DataError, Splits
from models.base import VAE
from study.export import Best, best
from study.record.confirmation import DEFAULTS
from study.record.folder import OpenRun, Run, RunError
from study.record.storage import KIND, check_data, open_run
from study.record.trials import best_trial, stored_trial
from study.record.words import pixels_of
from study.spec.build import build
from study.trial import snapshot
from study.trial.evaluation import evaluating
from study.trial.images import Images, images_of
from study.trial.trial import load_data

CODED = 2000  # images whose codes are shown
NEEDED = {  # of a run: what cannot be drawn without it, where that is not all that its study says
    "best": "what needs its best model",
    "splits": "what needs its images",
    "confirmed": "what was confirmed",
}
UNFINISHED = {"PRUNED": "stopped early", "FAIL": "failed"}  # by state; of another that is not complete, `unfinished`
UNREADABLE = (RunError, DataError)  # what is gone, damaged or not there yet
T = TypeVar("T")


class _read_once(cached_property[T]):
    """A part of a run, which keeps its error too: what cannot be read is tried once, and the run lacks it."""

    def __get__(self, results: Any, owner: Any = None) -> Any:
        if results is None:
            return self
        assert self.attrname is not None
        if self.attrname in results.errors:
            raise results.errors[self.attrname]
        try:
            return super().__get__(results, owner)
        except UNREADABLE as error:
            results.errors[self.attrname] = error
            raise


class Results:
    """A run's tables, its best model and the images to show it; each is read when it is first asked for.

    `lacking` says of what has been asked for what cannot be read.

    Args:
        run: its folder.
        data: root of the data sets; None is the default one.
        name: what the run is called in pictures and tables; if not given, by its folder.
    """

    def __init__(self, run: Run, data: str | None = None, name: str | None = None):
        self.run, self.spec, self._data = run, run.spec(), data
        self.name = run.name if name is None else name
        self.errors: dict[str, Exception] = {}  # by what could not be read; of what needs it, the same one

    @_read_once
    def opened(self) -> OpenRun:
        """The run with its study, to be read."""
        return open_run(self.run)

    @property
    def measure(self) -> str:
        """What the run's trials are compared on: its first objective."""
        return self.spec.objectives[0]

    @_read_once
    def trials(self) -> pd.DataFrame:
        """One row a trial."""
        return tables.called(tables.trials(self.run.path), self.name)

    @_read_once
    def curves(self) -> pd.DataFrame:
        """One row a report."""
        return tables.curves(self.run.path)

    @_read_once
    def train(self) -> pd.DataFrame:
        """One row a logged training step."""
        return tables.train(self.run.path)

    @_read_once
    def confirmed(self) -> pd.DataFrame:
        """One row a (configuration, seed); empty if nothing is confirmed."""
        return tables.called(tables.confirmed(self.run.path), self.name)

    @_read_once
    def best(self) -> Best:
        """The best checkpoint; errors as of `study.export.best`."""
        return best(self.opened)

    @cached_property
    def untrained(self) -> VAE:
        """A model as that of the training shown, before its first step: for what needs no weights."""
        settings = self.spec.settings_of(self._trial.params) if self.spec.trials else self.spec.defaults()
        return build(self.spec, settings)

    @_read_once
    def splits(self) -> Splits:
        """The images as they are stored.

        Raises:
            DataError: the data set is not there.
            RunError: the images are not those that the study was made with.
        """
        check_data(self.opened)
        return load_data(self.spec, self._data)

    @_read_once
    def valid(self) -> Images:
        """The validation images, as the model sees them; errors as of `splits`."""
        return images_of(self.splits, "valid", self.spec.preprocessing, self.spec.pairing)

    @_read_once
    def codes(self) -> NDArray[np.float64]:
        """The best model's codes of the first validation images, CODED at most, [N, Z]."""
        with evaluating(self.best.model, self.valid):
            codes = torch.cat([self.best.model.codes(x) for x in self.valid.batches(first=CODED)])
        return codes.double().cpu().numpy()

    @_read_once
    def snapshot(self) -> dict[str, NDArray]:
        """What the best model makes of the first validation images, and a traversal."""
        return snapshot.take(self.best.model, self.valid)

    @property
    def lacking(self) -> list[str]:
        """What could not be drawn, and why, a line for each reason."""
        first: dict[str, str] = {}
        for name, error in self.errors.items():  # what others need, has failed before them
            first.setdefault(str(error), name)
        return [f"{NEEDED.get(name, 'what needs its study')} is not drawn: {why}" for why, name in first.items()]

    def lacks(self, error: Exception) -> bool:
        """Whether it is this run that an error is of."""
        return any(error is own for own in self.errors.values())

    @property
    def unreadable(self) -> str:
        """Why neither a report nor a comparison can be made of it: its study cannot be read; empty where it can."""
        try:
            _ = self.trials
            if not tables.is_without_study(self.run):
                _ = self.opened
        except RunError as error:
            return str(error)
        return ""

    @property
    def has_begun(self) -> bool:
        """Whether it has a trial, or something that is confirmed, as far as that can be read."""
        for name in ("trials", "confirmed"):
            with suppress(RunError):
                if len(getattr(self, name)):
                    return True
        return False

    @property
    def number(self) -> int:
        """Of the training that is shown: the best trial, or where there was no search, seed.

        While no trial is complete, it is the one that got furthest. No checkpoint of a trial is read.

        Raises:
            NoneCompleteError: there is no trial with a report, or no complete seed.
        """
        found = best_trial(self.opened.study) if self.spec.trials else None
        number = furthest(self.trials, self.measure) if found is None else found.number
        return self.best.number if number is None else number

    @property
    def _trial(self) -> FrozenTrial:
        return stored_trial(self.opened.study, self.number)

    @property
    def folder(self) -> Path:
        """That of the training which is shown."""
        return self.run.trial(self.number) if self.spec.trials else self.run.confirmation(DEFAULTS, self.number)

    @property
    def which(self) -> str:
        """The training that is shown, in a title."""
        return f"{f'trial {self.number}' if self.spec.trials else f'seed {self.number + 1}'} of {self.label}"

    @property
    def label(self) -> str:
        """The run's name beside its training, with what became of that one where it is not complete."""
        state = self._trial.state.name if self.spec.trials else "COMPLETE"
        return self.name if state == "COMPLETE" else f"{self.name} ({UNFINISHED.get(state, 'unfinished')})"

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
        kind = self.about["kind"].iloc[0]
        return f"{elbo} is a {kind} of {pixels_of(self.spec.pixels, self.spec.likelihood, kind)} images"


def furthest(trials: pd.DataFrame, measure: str) -> int | None:
    """Number of the trial that made the most steps, the best of several; None without a report.

    What failed comes after all others.

    Args:
        trials: one row a trial.
        measure: which of the metrics.
    """
    begun = trials[trials.steps > 0]
    if begun.empty:
        return None
    order = begun.assign(sound=begun.state != "FAIL").sort_values(
        ["sound", "steps", f"metrics.{measure}"], na_position="first"
    )
    return int(order.number.iloc[-1])


def beside(runs: Sequence[Run], data: str | None = None) -> list[Results]:
    """Of several runs, each under a name of its own, see `tables.names`."""
    return [Results(run, data, name) for run, name in zip(runs, tables.names(runs))]
