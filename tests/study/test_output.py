"""A command goes on though its standard output goes, or was never there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from study.record.folder import Run
from study.record.storage import open_run

PROJECT = Path(__file__).resolve().parents[2]


def call(*arguments: str | Path, stdout: int) -> tuple[int, str]:
    """Exit code and standard error of a real command."""
    command = [sys.executable, "-m", "study", *map(str, arguments)]
    done = subprocess.run(command, cwd=PROJECT, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=120)
    return done.returncode, done.stderr


@pytest.fixture
def gone():
    """A pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def test_a_training_ends_as_if_it_were_read(gone, preset, tmp_path):
    assert call("train", preset(tmp_path), "--root", tmp_path, stdout=gone) == (0, "")
    (trial,) = open_run(Run(tmp_path / "tiny")).study.trials
    assert trial.state.name == "COMPLETE"


def test_a_mistake_keeps_its_code(gone, tmp_path):
    code, said = call("status", tmp_path / "nothing", stdout=gone)
    assert (code, said.startswith("no run ")) == (2, True)


def test_there_may_be_no_output_from_the_start(preset, tmp_path):
    run = f"exec {sys.executable} -m study train {preset(tmp_path)} --root {tmp_path} >&- 2>&-"
    assert subprocess.run(["sh", "-c", run], cwd=PROJECT, timeout=120).returncode == 0
