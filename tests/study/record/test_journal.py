"""A journal that a death cut short is mended by the next who writes."""

import os
import time

import pytest
from optuna.distributions import FloatDistribution

from study.record import backend
from study.record.folder import Run
from study.record.storage import open_run
from study.spec import StudySpec

LINES = b'{"op_code": 0, "worker_id": "a"}\n{"op_code": 4, "worker_id": "a"}\n'


@pytest.mark.parametrize(
    ("content", "left"),
    [
        (LINES, LINES),
        (LINES + b'{"op_c', LINES),
        (LINES + b"x" * 20_000, LINES),  # several blocks
        (b"x" * 8192, b""),
        (b"", b""),
        (b"y" * 4095 + b"\n" + b"x", b"y" * 4095 + b"\n"),  # the line ends with a block
    ],
    ids=["whole", "cut", "long", "nothing whole", "empty", "at a block's end"],
)
def test_the_unfinished_end_of_a_journal_is_cut_off_and_nothing_else(tmp_path, content, left):
    path = tmp_path / "optuna.journal"
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    done = backend.mend_journal(path)
    assert path.read_bytes() == left
    lost = len(content) - len(left)
    cut = "1 byte" if lost == 1 else f"{lost} bytes"
    assert done == ([f"optuna.journal: its last line was unfinished; {cut} cut off"] if lost else [])
    if not lost:
        assert path.stat().st_mtime_ns == 1
    assert backend.mend_journal(path) == []


def test_the_lock_of_a_dead_writer_is_removed(tmp_path):
    path = tmp_path / "optuna.journal"
    path.write_bytes(LINES)
    lock = tmp_path / "optuna.journal.lock"
    lock.symlink_to(path)
    assert backend.mend_journal(path) == ["optuna.journal.lock: left by a process that is gone; removed"]
    assert not lock.is_symlink()
    lock.symlink_to(tmp_path / "gone")  # one that leads nowhere, too
    assert len(backend.mend_journal(path)) == 1
    assert not lock.is_symlink()


def test_a_study_in_a_mended_journal_goes_on(raw, tmp_path):
    """Optuna opens a journal with a cut line, and glues its next write to it: the study never opens again."""
    spec = StudySpec(**raw(storage="journal"))
    run = Run(tmp_path / "tiny")
    run.create(spec)
    study = open_run(run, spec, create=True).study
    kept = study.ask({"lr": FloatDistribution(0, 1)}).params
    with open(run.journal, "ab") as file:
        file.write(b'{"op_code": 8, "worker_id": "gone", "trial_')
    run.journal.with_name("optuna.journal.lock").symlink_to(run.journal)

    started = time.monotonic()
    study = open_run(run, spec, create=True).study
    study.ask()
    assert time.monotonic() - started < 15  # Optuna waits 30 s for a lock
    trials = open_run(run, spec).study.get_trials()
    assert [trial.params for trial in trials] == [kept, {}]
    assert not run.database.exists()


def test_a_reader_mends_nothing(raw, tmp_path):
    """What looks cut to a reader may be a line that the driver is writing."""
    spec = StudySpec(**raw(storage="journal"))
    run = Run(tmp_path / "tiny")
    run.create(spec)
    open_run(run, spec, create=True).study.ask()
    with open(run.journal, "ab") as file:
        file.write(b'{"op_code": 8, "wor')
    before = run.journal.read_bytes()
    assert len(open_run(run, spec).study.get_trials()) == 1
    assert run.journal.read_bytes() == before
