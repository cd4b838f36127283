"""The Optuna study: the one truth about a run. The driver writes it, everyone may read it."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import yaml
from optuna.distributions import (
    distribution_to_json,
    json_to_distribution,
)

import imagesets
from models import outside
from study.record import backend, pauses, start
from study.record.extension import differences
from study.record.folder import OpenRun, Run, RunError
from study.record.sampling import sampler
from study.record.trials import settle
from study.spec import SpecError, StudySpec, dump, parse, storage_url
from study.spec.build import build
from study.spec.ranges import text
from study.spec.specification import KEPT
from study.trial.files import takes_files, write_whole

if TYPE_CHECKING:
    from imagesets import Splits

optuna.logging.set_verbosity(optuna.logging.WARNING)

KIND, SPACE, SPEC, IMAGES = "kind", "space", "spec", "images"  # attributes of the study


def open_run(run: Run, spec: StudySpec | None = None, create: bool = False) -> OpenRun:
    """The run with its study, whose sampler is seeded for what is stored already.

    Args:
        run: its folder.
        spec: takes the place of the run's own.
        create: make the study where it is missing; only for who holds the run.

    Raises:
        RunError: the run stopped before it had a study and `create` is not asked for, its storage is gone or cannot be
            opened, its specification is damaged, or, where `create` is asked for, as for `check_space`.
    """
    spec = spec or run.spec()
    earlier = start.read(run) if create else []  # who only reads, draws nothing
    file, made = file_of(run, spec), is_made(run, spec)
    if not made:
        if any(run.path.glob("trials/*")):  # whose checkpoints those of a new study would replace
            if file is None:
                raise RunError(
                    f"{spec.storage} holds no study {spec.name!r}, and there are trials; is it the right one?"
                )
            what = "is empty" if file.is_file() else "is gone"
            raise RunError(f"{file} {what}, and there are trials; {how_to_open(spec)}")
        if not create:
            raise RunError(f"{run.path} has no study yet; go on with `{run.goes_on(spec)}`")
    with _opening(spec, file):
        if file is not None and not made:
            write_whole(file, lambda path: _make_file(path, spec))
        elif file == run.journal and create:
            backend.mend_journal(run.journal)
        elif file == run.database:
            backend.check_tables(file)
        storage = _connect(spec, file)
        if file is None and create:
            make(storage, spec)
        study = optuna.load_study(storage=storage, study_name=spec.name)
        study.sampler = sampler(spec, len(study.get_trials(deepcopy=False)), earlier)
    opened = OpenRun(run, spec, study)
    if create:
        check_space(opened)
    return opened


def create(run: Run, spec: StudySpec, kept: str | None = None) -> None:
    """Makes a new run: its folder and, in a storage that it shares, its study; of several that start at once, for one.

    Args:
        run: its folder.
        spec: of its study.
        kept: what `study.record.start` keeps of an earlier study.

    Raises:
        RunError: the folder exists or cannot be made, or the storage cannot be opened.
        SpecError: the storage has a study of this name.
    """
    run.create(spec, kept)
    if file_of(run, spec) is None:
        with _opening(spec, None):
            is_first = _is_first(spec)
        if not is_first:
            shutil.rmtree(run.path)
            raise _taken(spec)


def _is_first(spec: StudySpec) -> bool:
    try:
        make(_connect(spec, None), spec, new=True)
    except optuna.exceptions.DuplicatedStudyError:
        return False
    return True


def check_space(opened: OpenRun) -> None:
    """Raises RunError where a run cannot go on: its study was searched over another space.

    It can be read: what its trials drew, they drew.
    """
    if differences := space_differences(opened.study, opened.spec):
        raise RunError(
            f"{opened.run.name} was {otherwise(opened.spec)}: {'; '.join(differences)}; "
            f"name another run with --set name=..., or bring the old one back"
        )


def is_made(run: Run, spec: StudySpec) -> bool:
    """Whether the run has a study already. Raises RunError where that cannot be told."""
    file = file_of(run, spec)
    if file is not None:
        return file.is_file() and file.stat().st_size > 0
    if is_missing(spec):
        return False
    with _opening(spec, file):
        return spec.name in optuna.get_all_study_names(_connect(spec, file))


@contextmanager
def _opening(spec: StudySpec, file: Path | None) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # each driver has errors of its own
        where = f"the study in {spec.storage if file is None else file}"
        raise RunError(f"{where} cannot be opened ({backend.reason(error)}); {how_to_open(spec)}") from error


def file_of(run: Run, spec: StudySpec) -> Path | None:
    """The file in the run folder that holds the study; None for one that is stored elsewhere."""
    if spec.storage is None:
        return run.database
    return run.journal if spec.storage == storage_url.JOURNAL else None


def is_missing(spec: StudySpec) -> bool:
    """Whether the storage is a file that is not there, which to open would make it."""
    file = None if spec.storage is None else storage_url.file_of(spec.storage)
    return file is not None and not os.path.isfile(file)


def _connect(spec: StudySpec, file: Path | None) -> optuna.storages.BaseStorage:
    if file is None:
        assert spec.storage is not None
        return backend.server(spec.storage)
    return backend.journal(file) if spec.storage == storage_url.JOURNAL else backend.sqlite(file)


def how_to_open(spec: StudySpec) -> str:
    """What to do about a study that cannot be opened."""
    if spec.storage is None or spec.storage == storage_url.JOURNAL:
        return "bring the file back from a backup; checkpoints and tables are still there"
    if storage_url.file_of(spec.storage) is not None:
        lead = "may this process read and write the file and its folder, and is it Optuna's? If it is damaged, "
        return f"{lead}bring it back from a backup; checkpoints and tables are still there"
    lead = "is the server up? A password is not kept in the run: "
    if given := storage_url.unfitting(spec.storage):
        return f"{lead}{storage_url.ENVIRONMENT} is set, but to {given}; set it to the whole URL of this one"
    return f"{lead}set {storage_url.ENVIRONMENT} to the whole URL"


def check_searches(spec: StudySpec) -> None:
    """Raises SpecError for a specification without trials."""
    if not spec.trials:
        raise SpecError(spec.name, ["trials: 0 is a search of nothing; `seeds` trains the defaults without a search"])


def check_storage_can_be(spec: StudySpec) -> None:
    """Raises SpecError where a storage that the specification names has no driver, or is a file that cannot be made.

    It is not opened, which would make tables in it.
    """
    if spec.storage is None or spec.storage == storage_url.JOURNAL:
        return
    try:
        backend.check_driver(spec.storage)
    except Exception as error:  # of SQLAlchemy, or of the import
        raise _closed(spec, error) from None
    if is_missing(spec):  # it is made with the run
        file = str(storage_url.file_of(spec.storage))
        if os.path.exists(file):
            raise SpecError(spec.name, [f"storage: {file} is no file; name another"])
        folder = os.path.dirname(file)
        if not takes_files(Path(folder)):
            problem = f"storage: {folder} is no folder that can be written"
            raise SpecError(spec.name, [f"{problem}; name a file in another"])


def check_storage_is_new(spec: StudySpec) -> None:
    """Raises SpecError unless a storage that the specification names can be opened and has no study of this name."""
    check_storage_can_be(spec)
    if spec.storage is None or spec.storage == storage_url.JOURNAL or is_missing(spec):
        return
    try:
        names = optuna.get_all_study_names(_connect(spec, None))
    except Exception as error:  # each driver has errors of its own
        raise _closed(spec, error) from None
    if spec.name in names:
        raise _taken(spec)


def _taken(spec: StudySpec) -> SpecError:
    return SpecError(spec.name, ["storage: holds a study of this name already; name another with --set name=..."])


def _closed(spec: StudySpec, error: Exception) -> SpecError:
    needed = f"it takes `journal`, or an Optuna URL such as {storage_url.EXAMPLES}"
    return SpecError(spec.name, [f"storage: cannot be opened ({backend.reason(error)}); {needed}"])


def make(storage: optuna.storages.BaseStorage, spec: StudySpec, new: bool = False) -> None:
    """Makes the study, or what a maker that died left out of it; with `new` raises Optuna's error where it is there."""
    directions = [optuna.study.StudyDirection.MAXIMIZE] * len(spec.objectives)
    study = optuna.create_study(storage=storage, study_name=spec.name, directions=directions, load_if_exists=not new)
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
    """What configurations are drawn from; without a search it is a single one."""
    if not spec.trials:
        return {name: json.dumps(value) for name, value in spec.defaults().items()}
    return {name: distribution_to_json(drawn) for name, drawn in spec.distributions().items()}


def space_differences(study: optuna.Study, spec: StudySpec) -> list[str]:
    """How the space of a specification differs from the one that a study was searched over, a line a hyperparameter."""
    before, now = study.user_attrs.get(SPACE), _space(spec)
    if before is None or before == now:
        return []
    say = _range if spec.trials else _value
    return [
        f"{name} was {say(before.get(name))}, is {say(now.get(name))}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]


def otherwise(spec: StudySpec) -> str:
    """What a study with `space_differences` was."""
    return "searched over another space" if spec.trials else "made with another configuration"


def _value(kept: str | None) -> str:
    return "not given" if kept is None else kept


def _range(distribution: str | None) -> str:
    return "not drawn" if distribution is None else text(json_to_distribution(distribution))


def reopen(run: Run, spec: StudySpec | None = None) -> OpenRun:
    """A run that goes on, put right after whatever ended it; for who holds the run.

    Arguments as for `open_run`.

    Raises:
        RunError: as there; or the specification is not the one that the study was made with.
    """
    opened = open_run(run, spec, create=True)
    check_made_with(opened)
    settle(opened)
    pauses.settle(opened)
    return opened


def check_made_with(opened: OpenRun) -> None:
    """Raises RunError where the specification is not the one that the study was made with: the run cannot go on."""
    run, spec, study = opened
    before = made_with(study)
    if before is not None and (changed := differences(before, spec)):
        raise RunError(
            f"{run.study_yaml} is not what the study was made with: {'; '.join(changed)}; "
            f"bring the old value back, or start another run"
        )
    if spec.code is not None and outside.has_changed(spec.code.code):
        raise RunError(
            f"{spec.code.origin} has changed since {run.name} began; {run.study_yaml} has the old text: "
            f"bring it back, or start another run with --set name=..."
        )


def check_goes_on(run: Run, spec: StudySpec) -> None:
    """Raises RunError where a run that nobody holds could not go on; it is only read, and may have no study yet."""
    start.read(run)
    if is_made(run, spec) or any(run.path.glob("trials/*")):
        opened = open_run(run, spec)
        check_space(opened)
        check_made_with(opened)


def made_with(study: optuna.Study) -> StudySpec | None:
    """The specification that the study was made with; None where it has none that can be read."""
    try:
        return StudySpec.model_validate(parse(study.user_attrs.get(SPEC, "")), context=KEPT)
    except (yaml.YAMLError, ValueError, TypeError):
        return None


def check_data(opened: OpenRun) -> str | None:
    """The checksum of images of one's own, None where a study is not of such.

    Raises:
        RunError: they are not those that the study was made with.
        DataError: they are not there.
    """
    now = imagesets.checksum(opened.spec.dataset, **opened.spec.dataset_options)
    before = opened.study.user_attrs.get(IMAGES)
    if before not in (None, now):
        raise RunError(
            f"{opened.spec.dataset_options['path']} is not what {opened.run.name} was made with: its SHA-256 is {now}, "
            f"was {before}; bring the old images back, or start another run with --set name=..."
        )
    return now


def describe_data(opened: OpenRun, splits: Splits) -> None:
    """Notes in the study what its ELBOs are: `bound` on a log-likelihood, or something else by its name.

    Of images of one's own also the checksum; errors as for `check_data`.
    """
    import torch

    from study.trial.images import images_of

    spec = opened.spec
    if checksum := check_data(opened):
        opened.study.set_user_attr(IMAGES, checksum)
    valid = images_of(splits, "valid", spec.preprocessing, spec.pairing)
    with torch.device("meta"):  # only its likelihood is asked
        model = build(spec, spec.defaults())
    opened.study.set_user_attr(KIND, model.likelihood_part.kind(valid.pixels))
