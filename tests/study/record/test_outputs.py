"""A file that a command makes never takes the place of one that a run or an export needs."""

import pytest

from study.record.folder import unwritable_output


@pytest.fixture
def run(tmp_path):
    run = tmp_path / "runs" / "tiny"
    for name in ("study.yaml", "optuna.db", "results.parquet", "trials/00000/best.pt", "confirm/defaults-0/last.pt"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("")
    return run


@pytest.mark.parametrize(
    "name",
    [
        "study.yaml",
        "optuna.db",
        "optuna.db-wal",
        "optuna.journal",  # a run in SQLite would have two studies
        "environment.json",
        "results.parquet",
        "confirm.parquet",
        ".lock",
        "trials/00000/best.pt",
        "trials/notes.csv",
        "confirm/defaults-0/last.pt",
    ],
)
def test_a_runs_own_files_are_refused(run, name):
    assert unwritable_output(run / name) == f"{run / name} is the run's own"


@pytest.mark.parametrize("name", ["report.html", "table.csv", "best.parquet", "../table.csv"])
def test_others_in_its_folder_are_not(run, name):
    assert unwritable_output(run / name) == ""
    (run / name).write_text("before")
    assert unwritable_output(run / name) == ""


def test_nor_what_is_called_alike_elsewhere(tmp_path):
    assert unwritable_output(tmp_path / "results.parquet") == ""


def test_a_link_to_a_runs_file_is_refused(run, tmp_path):
    (tmp_path / "table.csv").symlink_to(run / "optuna.db")
    assert unwritable_output(tmp_path / "table.csv") == f"{tmp_path / 'table.csv'} is the run's own"


def test_an_exports_own_files_are_refused(tmp_path):
    for name in ("model.safetensors", "config.json"):
        (tmp_path / name).write_text("")
    assert unwritable_output(tmp_path / "config.json") == f"{tmp_path / 'config.json'} is the export's own"
    assert unwritable_output(tmp_path / "README.md") == f"{tmp_path / 'README.md'} is the export's own"
    assert unwritable_output(tmp_path / "codes.parquet") == ""


def test_what_cannot_be_written_is_said(run):
    assert unwritable_output(run) == f"{run} is a folder"
    assert unwritable_output(run / "none" / "table.csv") == f"there is no folder {run / 'none'}"
