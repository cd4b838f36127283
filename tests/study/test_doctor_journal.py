"""The doctor and a study in a journal."""

import os
import re
from pathlib import Path

from damage import digests


def test_a_journal_whose_writer_died_is_mended(fresh, doctor):
    run = fresh("journal")
    sound = run.journal.read_bytes()
    with open(run.journal, "ab") as file:
        file.write(b'{"op_code": 8, "worker')
    os.symlink(run.journal, f"{run.journal}.lock")
    code, lines = doctor()
    assert code == 1
    assert "optuna.journal.lock was left by a process that is gone; --fix removes it" in lines
    assert "the last line of optuna.journal is unfinished; --fix removes it" in lines
    assert doctor("--fix")[0] == 0
    assert run.journal.read_bytes() == sound
    assert not Path(f"{run.journal}.lock").is_symlink()


def test_the_specification_is_made_again_from_a_journal(fresh, doctor):
    run = fresh("journal")
    sound = run.study_yaml.read_bytes()
    run.study_yaml.unlink()
    assert doctor("--fix")[0] == 0
    assert run.study_yaml.read_bytes() == sound


def test_a_journal_that_is_damaged_in_the_middle_stays_as_it_is(fresh, doctor):
    run = fresh("journal")
    content = run.journal.read_bytes()
    middle = content.index(b"\n", 2000)
    run.journal.write_bytes(content[:middle] + b"}{" + content[middle:])
    before = digests(run.path)
    for arguments in ([], ["--fix"]):
        code, lines = doctor(*arguments)
        assert code == 1
        assert re.search(
            r"optuna\.journal cannot be opened \(.+\); only a backup brings it back; .*4 trial f", lines[0]
        )
    assert {**digests(run.path), ".lock": ""} == {**before, ".lock": ""}
