"""Many processes that want the same arrays make them once."""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cached import folder_of, listed

import imagesets

REPOSITORY = Path(imagesets.__path__[0]).parent


PROCESS = """
import hashlib, sys, time
from pathlib import Path
import numpy as np
from imagesets.cache import stored

root, seconds = Path(sys.argv[1]), float(sys.argv[2])

def build(new):
    array = new("values", (250_000,), np.int64)
    array[:1000] = 7
    with open(root / "builds", "a") as file:
        file.write("built\\n")
    time.sleep(seconds)
    array[:] = np.arange(250_000)

print("ready", flush=True)
sys.stdin.readline()
print(hashlib.sha256(stored(root, "dots", build)["values"]).hexdigest())
"""
RIGHT = hashlib.sha256(np.arange(250_000)).hexdigest()


@pytest.fixture
def start(tmp_path):
    """Starts a process that loads, once it is sent a line, what takes it so many seconds to build."""
    processes = []

    def start(seconds):
        command = [sys.executable, "-c", PROCESS, str(tmp_path), str(seconds)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen(command, cwd=REPOSITORY, text=True, **pipes))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def say(process, line="go\n"):
    process.stdin.write(line)
    process.stdin.flush()


def test_ten_processes_at_once_build_once(tmp_path, start):
    processes = [start(seconds=0.5) for _ in range(10)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        say(process)
    said = [process.communicate(timeout=60) for process in processes]
    assert said == [(RIGHT + "\n", "")] * 10
    assert (tmp_path / "builds").read_text() == "built\n"
    assert {name.split("/")[-1] for name in listed(tmp_path)} == {folder_of(tmp_path).name, "index.json", "values.npy"}


def test_who_waits_for_a_killed_builder_builds(tmp_path, start):
    killed, waits = start(seconds=600), start(seconds=0)
    for process in (killed, waits):
        assert process.stdout.readline() == "ready\n"
    say(killed)
    wait_for(lambda: (tmp_path / "builds").exists())
    say(waits)
    time.sleep(0.2)
    assert waits.poll() is None
    assert len(list((tmp_path / "cache").glob(".dots-*/values.npy"))) == 1
    killed.kill()
    assert waits.communicate(timeout=60) == (RIGHT + "\n", "")
    assert (tmp_path / "builds").read_text() == "built\nbuilt\n"
    assert {name.split("/")[-1] for name in listed(tmp_path)} == {folder_of(tmp_path).name, "index.json", "values.npy"}


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
