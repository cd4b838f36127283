"""An SQL storage that remembers the trials that it writes, which Optuna's own reads back before each suggestion.

A study has one writer at a time, so what this process made or wrote is what the database has. With a thousand trials
running, reading them back, all their reports with them, was nearly all that a suggestion took.
"""

from __future__ import annotations

import copy
import itertools
import json
import operator
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility, distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import delete, insert

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

Write = Callable[["Session"], None]


class Remembering(RDBStorage):
    """Optuna's storage, for a single study. What only reads, remembers nothing and is not changed.

    Trials are handed out as they are and not changed afterwards, but replaced by changed copies.
    """

    def __init__(self, *given: Any, **named: Any):
        super().__init__(*given, **named)
        self._remembered: dict[int, FrozenTrial] = {}  # by id, until they ended and were read
        self._writes = False  # so that nobody else does
        self._read = False  # since then, the trials that were there before
        self._held: list[Write] | None = None  # what is written `together`
        self._drawn: list[dict[str, Any]] = []  # and of that the parameters, as rows

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
        self._held = []
        try:
            yield
        finally:
            held, drawn = self._held, self._drawn
            self._held, self._drawn = None, []
            if drawn:
                held.append(lambda session: _write_rows(session, drawn))
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
        given = trial_id, param_name, param_value_internal, distribution, previous
        if self._held is None or previous is None:
            trial = self._written(trial_id, lambda session: self._set_trial_param_without_commit(session, *given))
        else:
            check_distribution_compatibility(previous, distribution)
            self.check_trial_is_updatable(trial_id, self.get_trial(trial_id).state)
            text = distribution_to_json(distribution)
            row = {"trial_id": trial_id, "param_name": param_name, "param_value": param_value_internal}
            self._drawn.append({**row, "distribution_json": text})
            trial = self._changing(trial_id)
        trial._params = {**trial._params, param_name: distribution.to_external_repr(param_value_internal)}
        trial._distributions = {**trial._distributions, param_name: distribution}

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        given = trial_id, step, float(intermediate_value)  # of numpy's PostgreSQL would make something else
        trial = self._written(
            trial_id, lambda session: self._set_trial_intermediate_value_without_commit(session, *given)
        )
        trial.intermediate_values = {**trial.intermediate_values, step: given[-1]}

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial = self._attribute(models.TrialUserAttributeModel, trial_id, key, value)
        trial._user_attrs = {**trial._user_attrs, key: json.loads(json.dumps(value))}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial = self._attribute(models.TrialSystemAttributeModel, trial_id, key, value)
        trial._system_attrs = {**trial._system_attrs, key: json.loads(json.dumps(value))}

    def _attribute(self, kind: Any, trial_id: int, key: str, value: Any) -> FrozenTrial:
        return self._written(
            trial_id, lambda session: self._set_trial_attr_without_commit(session, kind, trial_id, key, value)
        )

    def _written(self, trial_id: int, write: Write) -> FrozenTrial:
        """A trial to be changed in memory as a write changes it in the database, now or at the end of `together`."""
        if self._held is None:
            self._write([write])
        else:
            self.check_trial_is_updatable(trial_id, self.get_trial(trial_id).state)
            self._held.append(write)
        return self._changing(trial_id)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> bool:
        told = super().set_trial_state_values(trial_id, state, values)
        self.remember(trial_id)  # with the times that it was given
        return told

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


def _write_rows(session: Session, drawn: Sequence[dict[str, Any]]) -> None:
    """Writes parameters in the place of those that are there; Optuna asks a server three times for each."""
    table, kind = models.TrialParamModel, operator.itemgetter("trial_id")
    for trial_id, rows in itertools.groupby(sorted(drawn, key=kind), kind):
        new = {row["param_name"]: row for row in rows}
        session.execute(delete(table).where(table.trial_id == trial_id, table.param_name.in_(new)))
        session.execute(insert(table), [*new.values()])
