"""An SQL storage that remembers the trials that it writes, which Optuna's own reads back before each suggestion.

A study has one writer at a time, so what this process made or wrote is what the database has. With a thousand trials
running, reading them back, all their reports with them, was nearly all that a suggestion took.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import operator
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility, distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Delete, Insert, bindparam, delete, insert, update

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

Write = Callable[["Session"], None]
Row = dict[str, Any]

KEYS = {  # of tables that say something of trials: what tells the rows of one trial apart
    models.TrialParamModel: "param_name",
    models.TrialUserAttributeModel: "key",
    models.TrialSystemAttributeModel: "key",
    models.TrialIntermediateValueModel: "step",
    models.TrialValueModel: "objective",
}


class Remembering(RDBStorage):
    """Optuna's storage, for a single study. What only reads, remembers nothing and is not changed.

    Trials are handed out as they are and not changed afterwards, but replaced by changed copies.
    """

    def __init__(self, *given: Any, **named: Any):
        super().__init__(*given, **named)
        self._remembered: dict[int, FrozenTrial] = {}  # by id, until they ended and were read
        self._writes = False  # so that nobody else does
        self._read = False  # since then, the trials that were there before
        self._together = False
        self._held: list[Write] = []  # what is to be written
        self._rows: dict[type[models.BaseModel], list[Row]] = {}  # likewise

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        trial = super()._create_new_trial(study_id, template_trial)
        self._writes = True
        self._remembered[trial._trial_id] = trial
        return trial

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._remembered.get(trial_id) or super().get_trial(trial_id)

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None) -> Any:
        return super()._get_trials(study_id, states, set(), -1)  # as they are stored: nothing keeps those of before

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        found: dict[int, FrozenTrial] = {}
        others = included_trial_ids - self._remembered.keys()
        if others or not self._read:
            after = max([trial_id_greater_than, *(self._remembered if self._read else ())])
            found = {trial._trial_id: trial for trial in super()._get_trials(study_id, None, others, after)}
            self._read = self._writes
        for trial_id, trial in list(self._remembered.items()):
            if trial_id in included_trial_ids or trial_id > trial_id_greater_than:
                found[trial_id] = trial
                if trial.state.is_finished():
                    del self._remembered[trial_id]
        return [trial for _, trial in sorted(found.items()) if states is None or trial.state in states]

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is written of trials inside is one transaction, at the end: the disk is waited for once.

        It must be repeatable, as all that is written here is: after a lost answer it is written again.
        """
        before, self._together = self._together, True
        try:
            yield
        finally:
            self._together = before
            self._flush()

    def _flush(self) -> None:
        """Writes what is held, unless it is to be written with what follows."""
        if self._together:
            return
        replaced: list[Write] = [functools.partial(_replace, kind, rows) for kind, rows in self._rows.items()]
        held = [*self._held, *replaced]
        self._held, self._rows = [], {}
        if held:
            self._write(held)

    def _write(self, held: Sequence[Write]) -> None:
        with _create_scoped_session(self.scoped_session, True) as session:
            for write in held:
                write(session)

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous: BaseDistribution | None = None,
    ) -> None:
        self._check_goes_on(trial_id)
        if previous is None:  # Optuna asks the database for one of another trial
            given = trial_id, param_name, param_value_internal, distribution
            self._held.append(lambda session: self._set_trial_param_without_commit(session, *given))
        else:
            check_distribution_compatibility(previous, distribution)
            drawn = {"param_value": param_value_internal, "distribution_json": distribution_to_json(distribution)}
            self._hold(models.TrialParamModel, trial_id, param_name, drawn)
        self._flush()
        trial = self._changing(trial_id)
        trial._params = {**trial._params, param_name: distribution.to_external_repr(param_value_internal)}
        trial._distributions = {**trial._distributions, param_name: distribution}

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self._check_goes_on(trial_id)
        given = float(intermediate_value)  # of numpy's PostgreSQL would make something else
        value, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(given)
        said = {"intermediate_value": value, "intermediate_value_type": kind}
        self._hold(models.TrialIntermediateValueModel, trial_id, step, said)
        self._flush()
        trial = self._changing(trial_id)
        trial.intermediate_values = {**trial.intermediate_values, step: given}

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial, said = self._attribute(models.TrialUserAttributeModel, trial_id, key, value)
        trial._user_attrs = {**trial._user_attrs, key: said}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial, said = self._attribute(models.TrialSystemAttributeModel, trial_id, key, value)
        trial._system_attrs = {**trial._system_attrs, key: said}

    def _attribute(self, kind: Any, trial_id: int, key: str, value: Any) -> tuple[FrozenTrial, Any]:
        """Writes an attribute; the trial that is to have it, and the value as it will be read."""
        self._check_goes_on(trial_id)
        text = json.dumps(value)
        self._hold(kind, trial_id, key, {"value_json": text})
        self._flush()
        return self._changing(trial_id), json.loads(text)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> bool:
        if not state.is_finished():  # whether it waits still, the database says
            told = super().set_trial_state_values(trial_id, state, values)
            self.remember(trial_id)
            return told
        self._check_goes_on(trial_id)
        now = datetime.now()
        for objective, given in enumerate(values or ()):
            value, kind = models.TrialValueModel.value_to_stored_repr(given)
            self._hold(models.TrialValueModel, trial_id, objective, {"value": value, "value_type": kind})
        self._held.append(functools.partial(_end, trial_id, state, now))
        self._flush()
        trial = self._changing(trial_id)
        trial.state, trial.values, trial.datetime_complete = state, values, now
        return True

    def _check_goes_on(self, trial_id: int) -> None:
        """Raises Optuna's error where a trial has ended."""
        self.check_trial_is_updatable(trial_id, self.get_trial(trial_id).state)

    def _hold(self, kind: type[models.BaseModel], trial_id: int, key: str | int, said: Row) -> None:
        """Has a row to be written, in the place of the one that has the same key."""
        self._rows.setdefault(kind, []).append({"trial_id": trial_id, KEYS[kind]: key, **said})

    def remember(self, trial_id: int) -> FrozenTrial:
        """A trial as it is stored, and which this process writes."""
        self._writes = True
        self._remembered[trial_id] = trial = super().get_trial(trial_id)
        return trial

    def _changing(self, trial_id: int) -> FrozenTrial:
        """A copy of a trial that takes its place, to be changed; of one that was not remembered, as it is stored."""
        if trial_id not in self._remembered:
            return self.remember(trial_id)
        self._remembered[trial_id] = trial = copy.copy(self._remembered[trial_id])
        return trial


def _replace(kind: Any, rows: Sequence[Row], session: Session) -> None:
    """Writes rows in the place of those that are there; Optuna asks a server three times for each."""
    (remove, add), of_trial, connection = _statements(kind), operator.itemgetter("trial_id"), session.connection()
    for trial_id, of_one in itertools.groupby(sorted(rows, key=of_trial), of_trial):
        new = {row[KEYS[kind]]: row for row in of_one}
        connection.execute(remove, {"of_trial": trial_id, "these": [*new]})
        connection.execute(add, [*new.values()])


@functools.cache
def _statements(kind: Any) -> tuple[Delete, Insert]:
    """What removes rows of a trial and what adds some; to put them together takes as long as to execute them."""
    table = kind.__table__
    these = table.c[KEYS[kind]].in_(bindparam("these", expanding=True))
    return delete(table).where(table.c.trial_id == bindparam("of_trial"), these), insert(table)


def _end(trial_id: int, state: TrialState, when: datetime, session: Session) -> None:
    table = models.TrialModel.__table__
    ended = {"state": state, "datetime_complete": when.astimezone(UTC).replace(tzinfo=None)}
    session.connection().execute(update(table).where(table.c.trial_id == trial_id).values(ended))
