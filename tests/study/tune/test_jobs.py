"""A study as a job of a cluster: `ray job submit -- python -m study run ...`, which joins the cluster that it is on."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks import cluster, undisturbed
from study.record.folder import Run, RunError
from study.record.storage import open_run
from study.record.trials import reports
from study.spec import StudySpec
from study.tune.cluster import JOB, packages_alone

pytestmark = pytest.mark.alone

PROJECT = Path(__file__).resolve().parents[3]


def test_what_a_job_was_submitted_with_is_not_sent_twice(monkeypatch, tmp_path):
    """Ray would refuse it."""
    whole = packages_alone(str(tmp_path))
    for of_the_job in ({}, None, {"env_vars": {"A": "b"}}):
        monkeypatch.setenv(JOB, json.dumps({"runtime_env": of_the_job, "metadata": {}}))
        assert packages_alone(str(tmp_path)) == whole
    monkeypatch.setenv(JOB, json.dumps({"runtime_env": {"working_dir": "gcs://_ray_pkg_1.zip"}}))
    assert packages_alone(str(tmp_path)) == {key: whole[key] for key in ("py_modules", "excludes")}


@pytest.fixture
def there() -> Iterator[cluster.Cluster]:
    if importlib.util.find_spec("aiohttp_cors") is None and os.environ.get("LATENTSWEEP_JOBS") != "required":
        pytest.skip("what takes jobs is not installed: pip install 'latentsweep[cluster]'")
    with cluster.cluster(jobs=True) as made:
        made.add().wait()
        yield made


@pytest.fixture
def job(there) -> Callable[..., subprocess.CompletedProcess]:
    """Calls `ray job`, to which options are given in place of those of the cluster."""

    def call(how: str, *arguments: str | Path) -> subprocess.CompletedProcess:
        assert there.board is not None
        command = [sys.executable, "-m", "ray.scripts.scripts", "job", how, "--address", there.board]
        return subprocess.run(
            [*command, *map(str, arguments)],
            env=os.environ | there.token,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return call


@pytest.mark.long
def test_a_study_is_a_job(ray_down, there, job, python, raw, tmp_path, preset, monkeypatch):
    """One that is wrong ends with exit code 2; one that is stopped stops softly; another job goes on with its run."""
    changes = {"trials": 3, "asha": None, "budget": {"steps": 6000, "report_every": 300}}
    (tmp_path / "sent").mkdir()
    preset(tmp_path / "sent", **changes)
    run = Run(tmp_path / "runs" / "tiny")
    study = ["--", "env", f"PYTHONPATH={PROJECT}", sys.executable, "-m", "study"]
    for name, value in there.token.items():
        monkeypatch.setenv(name, value)

    def ended(name: str) -> tuple[str, int | None]:
        code = (
            "import sys; from ray.job_submission import JobSubmissionClient; "
            "found = JobSubmissionClient(sys.argv[1]).get_job_info(sys.argv[2]); "
            "print(found.status.value, found.driver_exit_code)"
        )
        assert there.board is not None
        status, exit_code = python("-c", code, there.board, name).stdout.split()
        return status, None if exit_code == "None" else int(exit_code)

    def made() -> int:
        with suppress(RunError):  # there is no study yet
            return sum(len(reports(trial)) for trial in open_run(run).study.get_trials())
        return 0

    wrong = job("submit", "--submission-id", "wrong", *study, "run", "quickstart", "--set", "trials=many")
    assert wrong.returncode == 1, wrong.stdout
    assert "got 'many'" in wrong.stdout
    assert ended("wrong") == ("FAILED", 2)

    sent = ["--working-dir", tmp_path / "sent", "--no-wait", "--submission-id", "stopped"]
    begun = job("submit", *sent, *study, "run", "tiny.yaml", "--root", run.path.parent)
    assert begun.returncode == 0, begun.stdout
    end = time.monotonic() + 120
    while made() < 2:
        assert time.monotonic() < end, job("logs", "stopped").stdout
        time.sleep(0.2)
    stopped = job("stop", "stopped")
    assert stopped.returncode == 0, stopped.stdout
    said = job("logs", "stopped").stdout
    assert f"joined the Ray cluster at {there.address}, which RAY_ADDRESS names: 2 machines, 1 CPU, 0 GPUs" in said
    assert f"stopping; go on with: python -m study resume {run.path}" in said
    assert " unfinished, of 3 trials" in said
    assert run.table("results").is_file()
    assert ended("stopped")[0] == "STOPPED"

    before = made()
    gone_on = job("submit", "--submission-id", "on", *study, "resume", run.path)
    assert gone_on.returncode == 0, gone_on.stdout
    assert ended("on") == ("SUCCEEDED", 0)
    assert before < made() == 60
    assert undisturbed.differences(StudySpec(**raw(**changes)), open_run(run).study.get_trials()[0]) == []
