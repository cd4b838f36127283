"""The Optuna study: the one truth about a run. The driver writes it, everyone may read it.

A report is kept whole in a user attribute, `report:<steps>`; a failed trial has its `cause` in another. With a single
objective the report's value is an intermediate value too; with several it is not: TPE fails on those.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import torch
import yaml
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.trial import FrozenTrial, TrialState

from imagesets import Splits
from study.record import backend
from study.record.extension import differences
from study.record.folder import Run, RunError
from study.record.sampling import sampler
from study.spec import SpecError, StudySpec, dump, parse, storage_url
from study.spec.build import build
from study.spec.measures import RENAMED, STOPPED, current
from study.trial.files import write_whole
from study.trial.images import images_of

optuna.logging.set_verbosity(optuna.logging.WARNING)

REPORT = "report:"
KIND, SPACE, SPEC = "kind", "space", "spec"  # attributes of the study


def open_study(run: Run, spec: StudySpec, create: bool = False) -> optuna.Study:
    """The run's study, with a sampler seeded for what is stored already.

    Args:
        run: its folder.
        spec: its specification.
        create: make it where it is missing; only for who holds the run.

    Raises:
        RunError: the run stopped before it had a study and `create` is not asked for, its storage is gone or cannot be
            opened, or the study was searched over another space.
    """
    file, made = file_of(run, spec), is_made(run, spec)
    if not made:
        if any(run.path.glob("trials/*")):  # whose checkpoints those of a new study would replace
            if file is None:
                raise RunError(
                    f"{spec.storage} holds no study {spec.name!r}, and there are trials; is it the right one?"
                )
            raise RunError(f"{file} is gone, and there are trials; {_how_to_open(spec)}")
        if not create:
            raise RunError(f"{run.path} has no study yet; go on with `python -m study resume {run.argument}`")
    with _opening(spec, file):
        if file is not None and not made:
            write_whole(file, lambda path: _make_file(path, spec))
        elif file == run.journal and create:
            backend.mend_journal(run.journal)
        storage = _connect(spec, file)
        if file is None and create:
            make(storage, spec)
        study = optuna.load_study(storage=storage, study_name=spec.name)
        study.sampler = sampler(spec, stored=len(study.get_trials(deepcopy=False)))
    if differences := space_differences(study, spec):
        raise RunError(
            f"{run.name} was searched over another space: {'; '.join(differences)}; "
            f"name another run with --set name=..., or bring the old space back"
        )
    return study


def is_made(run: Run, spec: StudySpec) -> bool:
    """Whether the run has a study already. Raises RunError where that cannot be told."""
    file = file_of(run, spec)
    if file is not None:
        return file.is_file() and file.stat().st_size > 0
    with _opening(spec, file):
        return spec.name in optuna.get_all_study_names(_connect(spec, file))


@contextmanager
def _opening(spec: StudySpec, file: Path | None) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # each driver has errors of its own
        where = f"the study in {spec.storage if file is None else file}"
        raise RunError(f"{where} cannot be opened ({backend.reason(error)}); {_how_to_open(spec)}") from error


def file_of(run: Run, spec: StudySpec) -> Path | None:
    """The file in the run folder that holds the study; None for one that is stored elsewhere."""
    if spec.storage is None:
        return run.database
    return run.journal if spec.storage == storage_url.JOURNAL else None


def _connect(spec: StudySpec, file: Path | None) -> optuna.storages.BaseStorage:
    if file is None:
        assert spec.storage is not None
        return backend.server(spec.storage)
    return backend.journal(file) if spec.storage == storage_url.JOURNAL else backend.sqlite(file)


def _how_to_open(spec: StudySpec) -> str:
    if spec.storage in (None, storage_url.JOURNAL):
        return "bring the file back from a backup; checkpoints and tables are still there"
    return f"is the server up? A password is not kept in the run: set {storage_url.ENVIRONMENT} to the whole URL"


def check_storage_is_new(spec: StudySpec) -> None:
    """Raises SpecError unless a storage that the specification names can be opened and has no study of this name."""
    if spec.storage in (None, storage_url.JOURNAL):
        return
    try:
        names = optuna.get_all_study_names(_connect(spec, None))
    except Exception as error:  # each driver has errors of its own
        needed = "it takes `journal`, or an Optuna URL such as sqlite:///studies.db or postgresql://user@host/database"
        raise SpecError(spec.name, [f"storage: cannot be opened ({backend.reason(error)}); {needed}"]) from None
    if spec.name in names:
        raise SpecError(spec.name, ["storage: holds a study of this name already; name another with --set name=..."])


def make(storage: optuna.storages.BaseStorage, spec: StudySpec) -> None:
    """Makes the study, or what a maker that died left out of it."""
    directions = [optuna.study.StudyDirection.MAXIMIZE] * len(spec.objectives)
    study = optuna.create_study(storage=storage, study_name=spec.name, directions=directions, load_if_exists=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(list(spec.objectives))
    for key, value in ((SPACE, _space(spec)), (SPEC, dump(spec))):
        if key not in study.user_attrs:
            study.set_user_attr(key, value)


def _make_file(path: Path, spec: StudySpec) -> None:
    """Makes the file aside: a reader who opened a half-made one would bring itself and the maker down."""
    storage = _connect(spec, path)
    make(storage, spec)
    if isinstance(storage, optuna.storages.RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


def _space(spec: StudySpec) -> dict[str, str]:
    return {name: distribution_to_json(drawn) for name, drawn in spec.distributions().items()}


def space_differences(study: optuna.Study, spec: StudySpec) -> list[str]:
    """How the space of a specification differs from the one that a study was searched over, a line a hyperparameter."""
    before, now = study.user_attrs.get(SPACE), _space(spec)
    if before is None or before == now:
        return []
    return [
        f"{name} was {_range(before.get(name))}, is {_range(now.get(name))}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]


def _range(distribution: str | None) -> str:
    if distribution is None:
        return "not drawn"
    drawn = json_to_distribution(distribution)
    if isinstance(drawn, CategoricalDistribution):
        return f"one of {list(drawn.choices)}"
    assert isinstance(drawn, FloatDistribution | IntDistribution)
    return f"{drawn.low:g} to {drawn.high:g}" + (" (log)" if drawn.log else "")


class Outcome(NamedTuple):
    """How many trials ended in which way, and the signal that stopped the work, if one did."""

    complete: int
    pruned: int
    failed: int
    signal: int | None = None
    halted: str = ""  # why the search gave up before its end


def outcome(study: optuna.Study, signum: int | None = None, halted: str = "") -> Outcome:
    """Counts the study's trials by how they ended."""
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    complete, pruned, failed = (
        states.count(state) for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    )
    return Outcome(complete, pruned, failed, signum, halted)


def reopen(run: Run, spec: StudySpec) -> optuna.Study:
    """The study of a run that goes on, put right after whatever ended it; for who holds the run.

    Arguments as for `open_study`.

    Raises:
        RunError: as there; or the specification is not the one that the study was made with.
    """
    study = open_study(run, spec, create=True)
    before = made_with(study)
    if before is not None and (changed := differences(before, spec)):
        raise RunError(
            f"{run.study_yaml} is not what the study was made with: {'; '.join(changed)}; "
            f"bring the old value back, or start another run"
        )
    settle(study, spec)
    return study


def made_with(study: optuna.Study) -> StudySpec | None:
    """The specification that the study was made with; None where it has none that can be read."""
    try:
        return StudySpec(**parse(study.user_attrs.get(SPEC, "")))
    except (yaml.YAMLError, ValueError, TypeError):
        return None


def settle(study: optuna.Study, spec: StudySpec) -> None:
    """Ends the trials whose end was decided and reported when their driver died, but not told."""
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        made = reports(trial)
        if end := ended(made, spec):
            last, report = list(made.items())[-1]
            _store_value(study, trial._trial_id, {**report, "steps": last})  # the death may have come between the two
            tell(study, trial.number, end)


class End(NamedTuple):
    """What a trial ended as."""

    state: TrialState
    values: list[float] | None  # of the objectives, where the state is COMPLETE
    cause: str  # where it is FAIL


def ended(reports: Mapping[int, Mapping[str, Any]], spec: StudySpec) -> End | None:
    """What a trial with these reports ended as; None while it goes on.

    COMPLETE at the full budget, PRUNED below it where its last report says that ASHA stopped it, and FAIL where an
    objective is not finite at the end.

    Args:
        reports: steps -> measures.
        spec: of the study.
    """
    last = max(reports, default=0)
    if last < spec.steps:
        return End(TrialState.PRUNED, None, "") if reports and reports[last].get(STOPPED) else None
    values = [math.nan if (value := reports[last].get(name)) is None else value for name in spec.objectives]
    if all(math.isfinite(value) for value in values):
        return End(TrialState.COMPLETE, values, "")
    return End(TrialState.FAIL, None, f"nan: {list(spec.objectives)} were {values} at step {last}")


def owed(study: optuna.Study, spec: StudySpec) -> int:
    """How many trials are still to be finished."""
    return max(0, spec.trials - sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False)))


def describe_data(study: optuna.Study, spec: StudySpec, splits: Splits) -> None:
    """Notes in the study what its ELBOs are: `bound` on a log-likelihood, or something else by its name."""
    valid = images_of(splits, "valid", spec.preprocessing, spec.pairing)
    with torch.device("meta"):  # only its likelihood is asked
        model = build(spec, spec.defaults())
    study.set_user_attr(KIND, model.likelihood_part.kind(valid.pixels))


def reports(trial: FrozenTrial) -> dict[int, dict[str, Any]]:
    """All reports of a trial: steps -> measures, ascending."""
    found = {
        int(key[len(REPORT) :]): current(value) for key, value in trial.user_attrs.items() if key.startswith(REPORT)
    }
    return dict(sorted(found.items()))


def store_report(study: optuna.Study, trial_id: int, report: Mapping[str, Any]) -> None:
    """Keeps a report; one for the same step takes the place of an earlier one.

    Args:
        study: whose storage.
        trial_id: the storage's id of the trial.
        report: the measures that its `measures` names, `steps`, `seconds` and `train`; what is not finite is stored
            as null. `done`, where it is given, says that the trial ends here: below the full budget because ASHA
            stopped it.
    """
    steps = report["steps"]
    kept = {key: _finite(report[key]) for key in (*report["measures"], "seconds", "train")}
    if report.get("done"):
        kept[STOPPED] = True
    study._storage.set_trial_user_attr(trial_id, f"{REPORT}{steps}", kept)
    _store_value(study, trial_id, report)


def _store_value(study: optuna.Study, trial_id: int, report: Mapping[str, Any]) -> None:
    """Keeps a report's value beside it, where the study has a single objective and the value is finite."""
    if len(study.directions) == 1:
        (name,) = study.metric_names or ("elbo",)
        value, steps = report[RENAMED.get(name, name)], report["steps"]
        if value is not None and math.isfinite(value):
            study._storage.set_trial_intermediate_value(trial_id, steps, value)


def finish(study: optuna.Study, number: int, report: Mapping[str, Any], spec: StudySpec) -> None:
    """Ends a trial after its last report, which says the cause where the trial failed."""
    end = End(TrialState.FAIL, None, report["cause"])
    if not end.cause:
        end = ended({report["steps"]: {**report, STOPPED: True}}, spec) or end
    tell(study, number, end, report.get("traceback", ""))


def tell(study: optuna.Study, number: int, end: End, traceback: str = "") -> None:
    """Ends a trial in the study; of a crash, with the last lines of its traceback."""
    trial_id = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    for key, value in (("cause", end.cause), ("traceback", traceback)):
        if value:
            study._storage.set_trial_user_attr(trial_id, key, value)
    study.tell(number, end.values, end.state)


def fail(study: optuna.Study, number: int, cause: str, traceback: str = "") -> None:
    """Ends a trial as FAIL."""
    tell(study, number, End(TrialState.FAIL, None, cause), traceback)


def _finite(value: Any) -> Any:
    """JSON has no NaN: such numbers become null."""
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The complete trial with the best first objective; None while there is none."""
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return max(complete, key=lambda trial: trial.values[0], default=None)
