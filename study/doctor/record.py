"""The study: whether it is there, is the one of study.yaml, and says of its trials what their reports say."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

from optuna.trial import FrozenTrial, TrialState

from study.doctor.case import Case, Fault
from study.record import storage, tables
from study.record.extension import differences
from study.record.folder import OpenRun
from study.record.storage import SPACE, SPEC
from study.record.trials import ended, reports, settle
from study.spec import StudySpec, dump
from study.spec.text import counted


def opening(case: Case) -> list[Fault]:
    """Whether the study is there and can be read."""
    run, spec = case.run, case.spec
    file = storage.file_of(run, spec) if spec else next((f for f in (run.database, run.journal) if f.is_file()), None)
    folders = len(list(run.path.glob("trials/*")))
    left = [*(run.table(name).name for name in tables.TABLES if run.table(name).is_file())]
    remains = ", ".join([*left, *([counted(folders, "trial folder")] if folders else [])]) or "nothing else"
    if case.closed and spec is not None and file is None:
        return [Fault(f"the study in {spec.storage} cannot be opened ({case.closed}); {storage.how_to_open(spec)}")]
    if case.closed:
        how = "only a backup brings it back; nothing writes over it, and there are still"
        return [Fault(f"{file.name if file else 'the study'} cannot be opened ({case.closed}); {how} {remains}")]
    if case.study is None and folders:
        name = file.name if file else run.database.name
        return [Fault(f"{name} is gone; only a backup brings it back, and there are still {remains}")]
    return []


def attributes(case: Case) -> list[Fault]:
    """What the study says of itself, against study.yaml."""
    study, spec = case.study, case.spec
    if study is None or spec is None:
        return []
    lacking = [*(["metric names"] if study.metric_names is None else [])]
    lacking += [name for name in (SPACE, SPEC) if name not in study.user_attrs]
    if lacking and case.held:
        return []
    if lacking:
        line = f"the study lacks its {', '.join(lacking)}: its maker died; --fix writes what study.yaml says"
        return [Fault(line, functools.partial(storage.make, study._storage, spec))]
    faults = []
    if changed := storage.space_differences(study, spec):
        faults.append(Fault(f"the study was {storage.otherwise(spec)}: {'; '.join(changed)}; bring the old one back"))
    made_with = storage.made_with(study)
    if made_with is not None and (changed := differences(made_with, spec)):
        line = f"study.yaml is not what the study was made with: {'; '.join(changed)}; bring the old value back"
        faults.append(Fault(line))
    elif made_with != spec and not case.held:
        line = "the study's copy of study.yaml is an older one; --fix renews it"
        faults.append(Fault(line, lambda: study.set_user_attr(SPEC, dump(spec))))
    return faults


def unfinished(case: Case) -> list[Fault]:
    """Trials whose end was stored and not told."""
    study, spec = case.study, case.sure
    if study is None or spec is None or case.held:
        return []
    return [
        Fault(
            f"trial {trial.number} is RUNNING although its end was reported; --fix tells it",
            functools.partial(settle, OpenRun(case.run, spec, study)),
        )
        for trial in case.trials
        if trial.state == TrialState.RUNNING and ended(reports(trial), spec)
    ]


def ends(case: Case) -> list[Fault]:
    """Whether finished trials are what their states say; what was told cannot be told again, so nothing is repaired."""
    spec = case.sure
    if spec is None:
        return []
    finished = [trial for trial in case.trials if trial.state.is_finished()]
    faults = [Fault(f"trial {trial.number} {what}") for trial in finished for what in _wrong_end(spec, trial)]
    if len(finished) > spec.trials:
        faults.append(Fault(f"study.yaml asks for {counted(spec.trials, 'trial')}, and {len(finished)} are finished"))
    return faults


def _wrong_end(spec: StudySpec, trial: FrozenTrial) -> Iterator[str]:
    made, state = reports(trial), trial.state
    last = max(made, default=0)
    due = {*range(spec.report_every, last + 1, spec.report_every), *([last] if last == spec.steps else [])}
    if missing := sorted(due - made.keys()):
        yield f"has no report at steps {', '.join(map(str, missing))}"
    if strange := sorted(made.keys() - due):
        yield f"has reports at steps {', '.join(map(str, strange))}, where none is due"
    if state == TrialState.FAIL and not trial.user_attrs.get("cause"):
        yield "is FAIL without a cause"
    if state == TrialState.PRUNED and last not in spec.rungs:
        yield f"is PRUNED at step {last}, which is no rung; rungs: {', '.join(map(str, spec.rungs)) or 'none'}"
    end = ended(made, spec)
    if state == TrialState.COMPLETE and last != spec.steps:
        yield f"is COMPLETE without a report at step {spec.steps}; its last is at step {last}"
    elif state == TrialState.COMPLETE and end is not None and trial.values != end.values:
        yield f"has the values {trial.values}, and its last report says {end.values or end.cause}"
    if len(spec.objectives) == 1:
        given = {step: report.get(spec.objectives[0]) for step, report in made.items()}
        reported = {step: value for step, value in given.items() if value is not None}
        stored = {step: value for step, value in trial.intermediate_values.items() if not math.isnan(value)}
        if differing := sorted(s for s in reported.keys() | stored.keys() if reported.get(s) != stored.get(s)):
            yield f"has other intermediate values than its reports say, at steps {', '.join(map(str, differing))}"
