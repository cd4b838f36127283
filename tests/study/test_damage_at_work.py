"""A search and a confirmation that go on, with a real Ray, in a run of which a file is damaged."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from damage import CONFIRM, build, complete, damage, study_of

from study.record.confirmation import RESULT
from study.record.folder import Run
from study.record.trials import reports
from study.spec.measures import METRICS

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def half(raw, data, tmp_path_factory) -> Run:
    return build(raw, tmp_path_factory.mktemp("half"), confirm=CONFIRM)


@pytest.fixture(scope="module")
def whole(half, tmp_path_factory) -> Run:
    """The same run at its end, which nothing disturbed."""
    run = Run(shutil.copytree(half.path, tmp_path_factory.mktemp("whole") / "runs" / "tiny"))
    complete(run)
    return run


@pytest.fixture
def copy(tmp_path, monkeypatch) -> Callable[[Run], Run]:
    """Copies a run into runs/."""
    monkeypatch.chdir(tmp_path)
    return lambda run: Run(shutil.copytree(run.path, Path("runs/tiny"), copy_function=shutil.copy2))


def measured(run: Run) -> list[dict[int, dict[str, float]]]:
    """What each trial reported, by its steps."""
    return [
        {step: {key: report[key] for key in METRICS} for step, report in reports(trial).items()}
        for trial in study_of(run).trials
    ]


@pytest.mark.parametrize(
    ("name", "how", "code", "says"),
    [
        ("environment.json", "truncated", 3, ""),
        ("results.parquet", "truncated", 3, ""),
        ("curves.parquet", "made a directory", 1, "cannot be written (Is a directory); the study has what they say\n"),
    ],
)
def test_a_search_goes_on_to_its_end(half, whole, copy, ray_up, command, name, how, code, says):
    run = copy(half)
    damage(run.path / name, how)
    ended, out, err = command("resume", "tiny")
    assert ended == code, err
    assert err.endswith(says)
    assert "Traceback" not in out + err
    assert len(err.splitlines()) <= 1
    assert all(trial.state.is_finished() for trial in study_of(run).trials)
    expected, found = measured(whole), measured(run)
    assert found[:3] == expected[:3]
    assert max(found[3]) > 30  # where it stood, and where ASHA stopped it or it ended
    assert found[3] == {step: expected[3][step] for step in found[3]}
    assert len(pd.read_parquet(run.table("results"))) == 4


@pytest.mark.parametrize("how", ["truncated", "emptied"])
def test_a_result_that_is_damaged_is_read_off_its_training_again(whole, copy, ray_up, command, how):
    run = copy(whole)
    file = run.confirmation("defaults", 0) / RESULT
    expected, other = json.loads(file.read_text()), (run.confirmation("trial-0", 0) / RESULT).read_bytes()
    trained = (file.parent / "last.pt").read_bytes()
    damage(file, how)
    code, out, err = command("confirm", "tiny")
    assert (code, err) == (0, "")
    assert "defaults, seed 1 of 1: test elbo " in out
    found = json.loads(file.read_text())
    assert found == {**expected, **{key: found[key] for key in ("seconds", "cpu_seconds")}}
    assert (run.confirmation("trial-0", 0) / RESULT).read_bytes() == other
    assert (file.parent / "last.pt").read_bytes() == trained
    assert len(pd.read_parquet(run.table("confirm"))) == 2
