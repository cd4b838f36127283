"""Disks that are full, files that are foreign or forbidden, folders that are moved or left behind: a line, no loss."""

import os
import resource
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import readme
from damage import BUDGET, CONFIRM, build, complete, digests, without_roots_privilege

import analysis.__main__
from study import solo
from study.record import tables
from study.record.folder import Run
from study.spec import StudySpec
from study.trial.checkpoint import LAST
from study.trial.files import _temporary

ANALYSIS = analysis.__main__.app


@pytest.fixture(scope="module")
def whole(raw, data, tmp_path_factory) -> Path:
    """A finished run, confirmed and exported; the folder that holds `runs`."""
    folder = tmp_path_factory.mktemp("whole")
    complete(build(raw, folder, confirm=CONFIRM))
    return folder


@pytest.fixture
def finished(whole, tmp_path, monkeypatch) -> Run:
    """A copy of it to change."""
    shutil.copytree(whole / "runs", tmp_path / "runs", copy_function=shutil.copy2)
    monkeypatch.chdir(tmp_path)
    return Run(tmp_path / "runs" / "tiny")


@contextmanager
def full(room: int = 1000) -> Iterator[None]:
    """No file can grow beyond so many bytes: the system's own error, in whichever language the writer is written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_readme_names_all_that_a_finished_run_holds(finished):
    found = {path.name for path in finished.path.iterdir()}
    assert {"confirm", "confirm.parquet", "best"} <= found <= readme.of_a_run()


# A full disk.


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["export", "tiny", "--out", "new"], 2, "cannot write new: "),
        (["figures", "tiny"], 2, "; name another folder with --out"),
        (["table", "tiny", "--csv", "table.csv"], 1, "File too large"),
        (["resume", "tiny"], 1, "tables of "),
        (["confirm", "tiny"], 1, "File too large"),
    ],
    ids=lambda given: given[0] if isinstance(given, list) else "",
)
def test_a_full_disk_is_a_line_and_leaves_nothing_half_written(finished, command, tmp_path, arguments, code, says):
    before = digests(tmp_path)
    app = {"app": ANALYSIS} if arguments[0] in ("figures", "table") else {}
    with full():
        found, _, err = command(*arguments, **app)
    assert (found, len(err.splitlines())) == (code, 1), err
    assert says in err
    after = digests(tmp_path)
    assert {path: after.get(path) for path in before} == before
    assert {*after} - {*before} <= {"runs/tiny/figures", "table.csv"}


def test_a_table_is_shown_though_it_cannot_be_written(finished, command):
    expected = command("table", "tiny", app=ANALYSIS)
    for name in tables.TABLES:
        finished.table(name).unlink()
    with full():
        assert command("table", "tiny", app=ANALYSIS) == expected


@pytest.mark.long
def test_figures_of_a_run_that_cannot_be_written_go_elsewhere(finished, command, tmp_path):
    shutil.rmtree(finished.path / "figures", ignore_errors=True)
    finished.path.chmod(0o555)
    with without_roots_privilege():
        code, _, err = command("figures", "tiny", app=ANALYSIS)
        assert code == 2
        assert f"{finished.path} is no folder that can be written; name another folder with --out" in err
        code, out, err = command("figures", "tiny", "--out", tmp_path / "drawn", app=ANALYSIS)
    finished.path.chmod(0o755)
    assert (code, err) == (0, "")
    assert {Path(line).parent for line in out.splitlines()} == {tmp_path / "drawn"}
    assert len(list((tmp_path / "drawn").iterdir())) == len(out.splitlines())


# Files that are foreign or forbidden.


@pytest.mark.parametrize("name", [*tables.TABLES, "confirm"])
def test_a_table_with_other_columns_is_no_table_of_a_run(finished, command, name):
    sound = command("table", "tiny", app=ANALYSIS)
    pd.DataFrame({"a": [1]}).to_parquet(finished.table(name))
    code, out, err = command("table", "tiny", app=ANALYSIS)
    if name == "confirm":
        assert (code, bool(out)) == (0, True)  # the trials are there
        assert f"{finished.table(name)} cannot be read; `python -m study doctor tiny --fix` takes it away" in err
    else:
        assert (code, out, err) == sound
    assert "cannot be read" in command("doctor", "tiny", "--fix")[1] or name == "results"
    assert command("confirm", "tiny")[0] == 0
    assert command("table", "tiny", app=ANALYSIS) == sound


@pytest.mark.parametrize("text", ['{"python": "3.', "", "[]", '{"python": "3.12"}'])
def test_a_damaged_environment_ends_neither_a_run_that_goes_on_nor_a_table(finished, command, text):
    finished.environment.write_text(text)
    for name in tables.TABLES:
        os.utime(finished.table(name), (0, 0))
    assert command("table", "tiny", app=ANALYSIS)[0] == 0
    assert command("resume", "tiny")[0] == 3  # finished, and one of its trials failed
    assert pd.read_parquet(finished.table("results"))["commit"].isna().all()


def test_what_may_not_be_read_is_told_and_not_taken_for_damaged(finished, command):
    paths = [finished.trial(0) / LAST, finished.environment, finished.confirmation("defaults", 0) / "result.json"]
    before = digests(finished.path)
    for path in paths:
        path.chmod(0)
    with without_roots_privilege():
        code, out, err = command("doctor", "tiny", "--fix")
    assert (code, err) == (1, "")
    for path in paths:
        assert out.count(f"{path.relative_to(finished.path)} cannot be read (Permission denied)") == 1
        path.chmod(0o644)
    assert digests(finished.path) == before
    assert command("doctor", "tiny")[0] == 0


@pytest.mark.parametrize("statement", ["DROP TABLE trial_values", "DELETE FROM version_info"])
def test_who_reads_makes_no_table_again_in_a_database_that_was_emptied(finished, command, statement):
    with sqlite3.connect(finished.database) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(statement)
    connection.close()
    before = finished.database.read_bytes()
    for arguments in (["status"], ["doctor"], ["doctor", "--fix"], ["resume"], ["confirm"], ["export", "--out", "new"]):
        code, out, err = command(arguments[0], "tiny", *arguments[1:])
        assert code == (1 if arguments[0] == "doctor" else 2)
        assert "optuna.db cannot be opened (it" in out + err
    for name, expected in (("table", 0), ("figures", 2)):  # what the table was before is there
        os.utime(finished.table("results"), (0, 0))
        code, _, err = command(name, "tiny", app=ANALYSIS)
        assert (code, "optuna.db cannot be opened (it" in err) == (expected, True)
    assert finished.database.read_bytes() == before


# A study that goes while it is worked on.


@pytest.mark.parametrize("loss", ["deleted", "renamed"])
def test_a_training_whose_study_goes_says_so_in_a_line(raw, tmp_path, monkeypatch, capsys, loss):
    monkeypatch.chdir(tmp_path)
    run, store = Run(tmp_path / "runs" / "tiny"), solo.store_report

    def lose(study, trial_id, report) -> None:
        if report["steps"] == 20:
            if loss == "deleted":
                run.database.unlink()
            else:
                os.rename(run.path, run.path.with_name("elsewhere"))
        store(study, trial_id, report)

    monkeypatch.setattr(solo, "store_report", lose)
    outcome = solo.train(StudySpec(**raw(budget=BUDGET)), run)
    assert outcome.halted.startswith("the study cannot be written: ")
    assert len(outcome.halted.splitlines()) == 1
    assert "SQL" not in outcome.halted + "".join(capsys.readouterr())


# What a dead process leaves.


@pytest.fixture
def dead() -> int:
    """The id of a process that is gone."""
    process = os.fork()
    if process == 0:
        os._exit(0)
    os.waitpid(process, 0)
    return process


def leave(folder: Path, *files: str) -> Path:
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_text("half")
    return folder


def test_the_folder_of_a_killed_creation_is_removed_by_the_next(raw, tmp_path, dead):
    left = leave(tmp_path / "runs" / f".tiny.{dead}", "environment.json")
    other = leave(tmp_path / "runs" / f".tiny.{os.getppid()}")
    another = leave(tmp_path / "runs" / f".tiny2.{dead}")
    Run(tmp_path / "runs" / "tiny").create(StudySpec(**raw()))
    assert not left.exists()
    assert other.is_dir()
    assert another.is_dir()


def test_the_folder_of_a_killed_export_is_removed_by_the_next(finished, command, tmp_path, dead):
    left = leave(tmp_path / "out" / f".my.best.{dead}", "config.json")
    assert command("export", "tiny", "--out", tmp_path / "out" / "my.best")[0] == 0
    assert not left.exists()


def test_what_killed_processes_left_is_named_and_removed(finished, command, dead):
    left = [
        leave(finished.path.with_name(f".tiny.{dead}"), "study.yaml"),
        leave(finished.path / f".my.best.{dead}", "config.json", "model.safetensors"),
    ]
    mine = leave(finished.path / f".notes.{dead}", "thoughts.txt")
    half = finished.confirmation("defaults", 0) / f".last.pt.{dead}"  # a confirmation that was stopped
    half.write_bytes(b"half")
    code, out, err = command("doctor", "tiny")
    assert (code, err) == (1, "")
    assert out.count("was being written by a process that is gone; --fix removes it") == 3
    assert all(path.exists() for path in (*left, half))
    assert command("doctor", "tiny", "--fix")[0] == 0
    assert not any(path.exists() for path in (*left, half))
    assert mine.is_dir()
    assert command("doctor", "tiny")[0] == 0


@pytest.mark.parametrize("kept", [False, True], ids=["of this machine", "of another"])
def test_what_another_machine_may_be_writing_is_left_alone(finished, command, raw, dead, monkeypatch, kept):
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: dead)
        if kept:
            patch.setattr(socket, "gethostname", lambda: "another")
        new, export = _temporary(finished.path.with_name("new")), _temporary(finished.path / "my.best")
        half = _temporary(finished.trial(0) / LAST)
    leave(new, "study.yaml")
    leave(export, "config.json")
    half.write_bytes(b"half")
    Run(finished.path.with_name("new")).create(StudySpec(**raw(name="new")))
    assert command("doctor", "tiny", "--fix")[0] == 0
    assert [path.exists() for path in (new, export, half)] == [kept] * 3
