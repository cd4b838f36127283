"""A run's study as optuna-dashboard is shown it: an Optuna storage that is made of another one as it is read.

To each trial it adds all of its pictures, its last report as numbers that the table of trials can be sorted by, what
kind of number the ELBO is, and the hyperparameters that were not drawn for it. Of its reports, which the study keeps
whole and which would make a row of that table a page high, it shows the main numbers, under names that sort by step,
behind everything else. The study has a note that says what it is. In no text is a path of this machine.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Container
from typing import Any, NoReturn

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard import save_note

from study.dashboard.note import note
from study.dashboard.pictures import Pictures
from study.output import without_places
from study.record.artifacts import PREFIX
from study.record.folder import OpenRun
from study.record.pathologies import CONSTRAINT, EVIDENCE, PATHOLOGY
from study.record.pauses import HANDED_OUT, PUT_AWAY
from study.record.storage import KIND
from study.record.tables import about
from study.record.trials import REPORT, TAKEN_UP, best_trial, reports
from study.record.words import measured
from study.spec.measures import taken

LAST = "~report "  # the tilde comes after all letters
MOST = 1000  # trials of a study whose curves are drawn: those of 10,000 are one patch, and most of the page's time


class View(BaseStorage):
    """The study of a run, and no other of its storage.

    Args:
        opened: the run.
        pictures: of its trials.
    """

    def __init__(self, opened: OpenRun, pictures: Pictures):
        self.opened, self.pictures = opened, pictures
        self._storage, self._id = opened.study._storage, opened.study._study_id
        self._note = functools.cache(lambda kind: as_attributes(note(opened, kind)))
        self._ended: dict[int, FrozenTrial] = {}  # as they are shown; they change no more

    # The study.

    def get_all_studies(self) -> list[FrozenStudy]:
        """This one."""
        name, directions = self.opened.spec.name, self.get_study_directions(self._id)
        user, system = self.get_study_user_attrs(self._id), self.get_study_system_attrs(self._id)
        return [FrozenStudy(name, None, user, system, self._id, directions=directions)]

    def get_study_id_from_name(self, study_name: str) -> int:
        """Its id."""
        if study_name != self.opened.spec.name:
            raise KeyError(study_name)
        return self._id

    def get_study_name_from_id(self, study_id: int) -> str:
        """Its name."""
        self._check(study_id)
        return self.opened.spec.name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Of its objectives."""
        self._check(study_id)
        return self._storage.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """What it is, in a few words."""
        self._check(study_id)
        return {key: value for key, value in about(self.opened).items() if value is not None}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Optuna's own, with the note."""
        self._check(study_id)
        return {**self._storage.get_study_system_attrs(study_id), **self._note(self._kind())}

    def _check(self, study_id: int) -> None:
        if study_id != self._id:
            raise KeyError(study_id)

    # Its trials.

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """As they are shown."""
        self._check(study_id)
        kind = self._kind()
        stored = self._storage.get_all_trials(study_id, deepcopy=False, states=states)
        seen = [self._seen(trial, kind) for trial in stored]
        return copy.deepcopy(seen) if deepcopy else seen

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """As it is shown; KeyError for another study's."""
        for trial in self.get_all_trials(self._id, deepcopy=False):
            if trial._trial_id == trial_id:
                return trial
        raise KeyError(trial_id)

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """As `best_trial` has it; ValueError where no trial is complete."""
        self._check(study_id)
        best = best_trial(self.opened.study)
        if best is None:
            raise ValueError("No trials are completed yet.")
        return self._seen(best, self._kind())

    def _kind(self) -> str | None:
        return self._storage.get_study_user_attrs(self._id).get(KIND)

    def _seen(self, trial: FrozenTrial, kind: str | None) -> FrozenTrial:
        if trial._trial_id in self._ended:
            return self._ended[trial._trial_id]
        seen = copy.copy(trial)
        seen._user_attrs = self._attributes(trial, kind)
        if self.opened.spec.trials > MOST:
            seen.intermediate_values = {}
        kept = {key: value for key, value in trial.system_attrs.items() if not key.startswith((PREFIX, CONSTRAINT))}
        constraints = list(trial.constraints.values())  # in the form that optuna-dashboard knows
        seen._system_attrs = {
            **kept,
            **({"constraints": constraints} if constraints else {}),
            **self.pictures.of(trial.number),
        }
        if trial.state.is_finished():
            self._ended[trial._trial_id] = seen
        return seen

    def _attributes(self, trial: FrozenTrial, kind: str | None) -> dict[str, Any]:
        """In the order in which they are shown."""
        made = reports(trial)
        steps = max(made, default=0)
        last = made.get(steps, {})
        unshown = (REPORT, HANDED_OUT, PUT_AWAY)
        stored = {key: value for key, value in trial.user_attrs.items() if not key.startswith(unshown)}
        settings = self.opened.spec.settings_of(trial.params)
        flat = {
            "steps": steps,
            "seconds": last.get("seconds"),
            **{name: last.get(name) for name in taken([last])},
            "kind": kind,
            "violation": trial.constraints.get(PATHOLOGY),  # by which the table can be sorted
            # Of all, because the columns of a table come as the first trial has them.
            **dict.fromkeys(("cause", PATHOLOGY, EVIDENCE), ""),
            **{f"fixed.{name}": value for name, value in settings.items() if name not in trial.params},
            **{key: value for key, value in stored.items() if key != TAKEN_UP},
        }
        shown = {
            key: without_places(value) if isinstance(value, str) else value
            for key, value in flat.items()
            if value is not None
        }
        main = dict.fromkeys([*self.opened.spec.objectives, "kl", "zero_fraction"])
        return shown | {
            f"{LAST}{step:07d}": ", ".join(measured(name, report[name]) for name in main if name in report)
            for step, report in made.items()
        }

    # What would change it.

    def _refuse(self, *_: Any, **named: Any) -> NoReturn:
        raise PermissionError("the study is only shown")

    create_new_study = delete_study = set_study_user_attr = set_study_system_attr = _refuse
    create_new_trial = set_trial_param = set_trial_state_values = set_trial_intermediate_value = _refuse
    set_trial_user_attr = set_trial_system_attr = _refuse


def as_attributes(text: str) -> dict[str, Any]:
    """The attributes of a study in which optuna-dashboard keeps its note."""
    noted = optuna.create_study()
    save_note(noted, text)
    return noted._storage.get_study_system_attrs(noted._study_id)
