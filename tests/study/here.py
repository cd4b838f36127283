"""The tasks of a confirmation done in this process, where no Ray is needed to know what they do."""

from collections.abc import Mapping
from typing import Any

import torch

from study.agenda import Agenda
from study.confirm import do
from study.record.confirmation import Result, Value, in_columns, settings_of
from study.spec import StudySpec
from study.spec.measures import MEASURES
from study.tasks import OF_CODES

CPU = torch.device("cpu")
TEST = tuple(measure.name for measure in MEASURES if measure.name not in OF_CODES)
"""What is measured of any model on the test set, besides scores of codes."""


def all_done(agenda: Agenda, *_: Any) -> None:
    """In the place of `study.confirm._work_all`."""
    agenda.forget_other_budgets()
    while tasks := list(agenda.ready()):
        for task in tasks:
            agenda.take(task, do(task, agenda.run, agenda.spec, None, CPU))


def made(spec: StudySpec, numbers: dict[str, float], **training: Any) -> Result:
    """A result with these values."""
    measures = [measure for measure in MEASURES if measure.name in numbers]
    values = [Value(m.name, numbers[m.name], m.kind, m.version, settings_of(m, spec)) for m in measures]
    return Result(**{"cause": "", "steps": spec.steps, "budget": spec.steps, **training}, values=tuple(values))


def flat(found: Result, spec: StudySpec) -> dict[str, Any]:
    """A result as a row of the table has it, without its times; None where there is no number."""
    known = {key: getattr(found, key) for key in ("valid_elbo", "steps", "cause")}
    return defined({**in_columns(found, spec), **known})


def defined(row: Mapping[str, Any]) -> dict[str, Any]:
    """With None in the place of NaN, which equals nothing."""
    return {key: None if value != value else value for key, value in row.items()}
