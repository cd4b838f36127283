"""A run that cannot be written: what must write says so, what reads goes on reading."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pandas as pd
import pytest
from damage import digests, without_roots_privilege

import analysis
import analysis.__main__
from study.record import tables


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    paths = [folder, *folder.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(modes[path] & ~0o222)
    try:
        with without_roots_privilege():
            with pytest.raises(PermissionError):
                (folder / "new").touch()
            yield
    finally:
        for path in paths:
            path.chmod(modes[path])


@pytest.mark.parametrize("locked_before", [False, True])
@pytest.mark.parametrize(
    "arguments", [["resume"], ["confirm"], ["doctor", "--fix"]], ids=lambda arguments: arguments[0]
)
def test_what_must_write_into_a_read_only_run_says_so(run, command, arguments, locked_before):
    with run.locked() if locked_before else nullcontext():
        pass
    before = digests(run.path)
    with read_only(run.path):
        code, out, err = command(*arguments, "tiny")
    assert (code, out) == (2, "")
    assert err == f"{run.path} cannot be written (Permission denied); nothing was changed\n"
    assert digests(run.path) == before


@pytest.mark.parametrize("kept", [None, "journal"])
def test_a_read_only_run_can_still_be_read(fresh, command, doctor, kept, tmp_path):
    run = fresh(kept)
    expected = analysis.trials("tiny")
    for name in tables.TABLES:
        os.utime(run.table(name), (0, 0))  # older than the study
    (run.table("curves")).unlink()
    before = digests(run.path)
    with read_only(run.path):
        code, out, err = command("status", "tiny")
        assert (code, err) == (0, "")
        assert "1 complete, 1 pruned, 1 failed, 1 unfinished, of 4 trials" in out
        code, out, err = command("table", "tiny", app=analysis.__main__.app)
        assert (code, err) == (0, "")
        assert [line.split()[1] for line in out.splitlines()[1:5]] == ["COMPLETE", "PRUNED", "UNFINISHED", "FAIL"]
        pd.testing.assert_frame_equal(analysis.trials("tiny"), expected)
        assert len(analysis.curves("tiny")) == 6 + 2 + 1 + 3
        code, _, err = command("export", "tiny", "--out", tmp_path / "best")
        assert (code, err) == (0, "")
        code, lines = doctor()
        assert code == 1
        assert lines[0].startswith("results.parquet is older than the study, curves.parquet is missing, train.parquet ")
        code, _, err = command("export", "tiny", "--out", run.path / "best")
        assert code == 2
        says = f"cannot write {run.path / 'best'}: {run.path} is no folder that can be written; name another folder"
        assert f"{says} with --out" in err
    assert digests(run.path) == before
