"""Each trial that ended has its last picture as an artifact, by which any tool of Optuna's finds it, once."""

from pathlib import Path

import optuna
from damage import study_of
from optuna.artifacts import FileSystemArtifactStore, download_artifact, get_all_artifact_meta

from study.record.artifacts import attach
from study.record.folder import Run
from study.record.storage import reopen
from study.record.trials import store_report


def attached(run: Run, trial: optuna.trial.FrozenTrial, folder: Path) -> list[tuple[str, bytes]]:
    """File name and content of a trial's artifacts, as Optuna fetches them."""
    storage, store = study_of(run)._storage, FileSystemArtifactStore(run.artifacts)
    found = []
    for meta in get_all_artifact_meta(trial, storage=storage):
        assert meta.mimetype == "image/png"
        path = folder / meta.artifact_id
        download_artifact(artifact_store=store, artifact_id=meta.artifact_id, file_path=str(path))
        found.append((meta.filename, path.read_bytes()))
    return found


def test_an_ended_trial_has_its_last_picture_also_a_pruned_and_a_failed_one(run, tmp_path):
    trials = study_of(run).trials
    for trial, last in zip(trials, ("0000060.png", "0000020.png", "0000010.png"), strict=False):
        picture = (run.trial(trial.number) / "snapshots" / last).read_bytes()
        assert attached(run, trial, tmp_path) == [(f"step-{last}", picture)]
    assert attached(run, trials[3], tmp_path) == []  # it goes on
    assert len(list(run.artifacts.iterdir())) == 3


def test_after_a_death_before_its_end_was_told_it_has_one_still(run, tmp_path):
    study = study_of(run)
    report = {"steps": 60, "measures": ["elbo"], "elbo": -1.0, "seconds": 1.0, "train": [], "done": True}
    store_report(study, study.trials[3]._trial_id, report)
    before = set(run.artifacts.iterdir())
    attach(run, study, 3, study.trials[3]._trial_id)
    (made,) = set(run.artifacts.iterdir()) - before
    made.write_bytes(b"")  # it died in the middle of the file
    ended = reopen(run).study.trials[3]
    assert ended.state.name == "COMPLETE"
    [(name, content)] = attached(run, ended, tmp_path)
    assert (name, content[:4]) == ("step-0000030.png", b"\x89PNG")


def test_a_trial_without_a_picture_has_none(run, tmp_path):
    for path in run.pictures(3):
        path.unlink()
    study = study_of(run)
    attach(run, study, 3, study.trials[3]._trial_id)
    assert attached(run, study.trials[3], tmp_path) == []
