"""A journal that a death cut short is mended by the next who writes."""

import itertools
import json
import os
import time

import optuna
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


SPACE = {"rate": FloatDistribution(1e-5, 1.0, log=True), "share": FloatDistribution(0.0, 1.0)}


@pytest.fixture
def written(tmp_path):
    return tmp_path / "optuna.journal"


@pytest.fixture
def study(written):
    return optuna.create_study(storage=backend.journal(written), study_name="s", direction="maximize")


def read(path):
    """The trials as Optuna's own storage reads them."""
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    return storage.get_all_trials(0)


def draw_and_report(study):
    """A trial that is asked for, drawn and reported together."""
    with backend.together(study):
        trial = study.ask()
        with backend.together(study):
            for name, space in SPACE.items():
                trial._suggest(name, space)
        study._storage.set_trial_user_attr(trial._trial_id, "report:1", {"elbo": -1.5, "n": (1, 2)})
        study._storage.set_trial_intermediate_value(trial._trial_id, 1, -1.5)
        return study.get_trials()[-1]


def test_what_is_written_together_waits_for_the_disk_once(study, written, monkeypatch):
    waits = []
    monkeypatch.setattr(os, "fsync", lambda file, fsync=os.fsync: waits.append(1) or fsync(file))
    for number in range(3):
        seen = draw_and_report(study)
        assert len(waits) == number + 1
        assert (seen.number, set(seen.params), seen.user_attrs["report:1"]["n"]) == (number, set(SPACE), [1, 2])
        assert study.get_trials() == read(written)
    study.tell(0, 1.0)
    assert study.get_trials() == read(written)


def test_a_journal_is_not_read_again_from_its_beginning(study, monkeypatch):
    decoded = []
    decode = json.loads
    draw_and_report(study)
    monkeypatch.setattr("optuna.storages.journal._file.json.loads", lambda line: decoded.append(1) or decode(line))
    for _ in range(5):
        draw_and_report(study)
        study.set_user_attr("note", 1)
    assert len(decoded) <= 5 * 2 * 8


def test_what_is_written_together_before_an_error_is_kept(study, written):
    def interrupted():
        with backend.together(study):
            study.ask({"rate": SPACE["rate"]})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [set(trial.params) for trial in read(written)] == [{"rate"}]
    study.ask()  # by itself again
    assert study.get_trials() == read(written)


def test_any_part_of_what_is_written_together_is_gone_on_with(study, written, tmp_path):
    """A death may leave so many bytes of a write."""
    before = written.stat().st_size
    draw_and_report(study)
    whole = written.read_bytes()
    lines = list(itertools.accumulate(map(len, whole[before:].splitlines(True)), initial=before))
    for cut in [*lines, *(end - 3 for end in lines[1:])]:
        part = tmp_path / f"{cut}.journal"
        part.write_bytes(whole[:cut])
        backend.mend_journal(part)
        after = optuna.load_study(storage=backend.journal(part), study_name="s")
        left = after.get_trials()
        for trial in left:
            for name, space in SPACE.items():
                value = optuna.trial.Trial(after, trial._trial_id)._suggest(name, space)
                assert value == trial.params.get(name, value)
        draw_and_report(after)
        assert [set(trial.params) for trial in read(part)] == [set(SPACE)] * (len(left) + 1)
