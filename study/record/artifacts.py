"""The last picture of each trial that ended as an artifact of Optuna's, so that any of its dashboards has it:

    optuna-dashboard sqlite:///optuna.db --artifact-dir artifacts    # in the run folder

Pictures of the other reports stay where the trial has put them; `dashboard` shows them all.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict

import optuna
from optuna.artifacts import ArtifactMeta, FileSystemArtifactStore

from study.record.folder import Run

PREFIX = "artifacts:"  # of a trial's system attributes, as `optuna.artifacts` has it


def attach(run: Run, study: optuna.Study, number: int, trial_id: int) -> None:
    """Keeps the last picture of a trial, if it has one; after a death in between the same artifact again.

    Optuna's own `upload_artifact` would then make another, and leaves one without its file if it dies.

    Args:
        run: the run folder.
        study: of the run.
        number: of the trial, which must not have been told.
        trial_id: the storage's id of it.
    """
    shots = run.pictures(number)
    if not shots:
        return
    name = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{study.study_name}/{number}"))
    run.artifacts.mkdir(exist_ok=True)
    with open(shots[-1], "rb") as file:
        FileSystemArtifactStore(run.artifacts).write(name, file)
    said = ArtifactMeta(name, filename=f"step-{shots[-1].name}", mimetype="image/png", encoding=None)
    study._storage.set_trial_system_attr(trial_id, f"{PREFIX}{name}", json.dumps(asdict(said)))
