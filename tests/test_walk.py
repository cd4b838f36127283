"""The README's walk with one's own images, model and ranges, by the installed command in a folder of one's own."""

import os
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import yaml
from PIL import Image
from readme import IMAGES, the_one, write_own

from study.record.folder import Run
from study.record.storage import open_run
from study.record.trials import reports

pytestmark = [pytest.mark.long, pytest.mark.alone]

RANDOM = np.random.default_rng(0)


def save_digits(folder: Path, python: Path, env: dict[str, str]) -> None:
    subprocess.run([python, "-c", IMAGES], cwd=folder, env=env, check=True)


def save_pictures(folder: Path, *classes: str) -> None:
    """Five hundred pictures in colour, 24 wide and 16 high: a bright bar, upright or flat, on a dark ground."""
    for number in range(500):
        pixels = RANDOM.integers(0, 40, (16, 24, 3))
        bar = (slice(None), slice(9, 14)) if number % 2 else (slice(6, 10), slice(None))
        pixels[bar] += RANDOM.integers(100, 200, 3)
        where = folder / "pictures" / (classes[number % 2] if classes else "")
        where.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(where / f"{number:03d}.png")


class Away(NamedTuple):
    """A folder of one's own, and the installed command in it."""

    folder: Path
    python: Path
    env: dict[str, str]
    latentsweep: Path

    def call(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [self.latentsweep, *arguments], cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stderr if code else done.stdout

    def kill_in_mid_search(self, *arguments: str) -> None:
        """Starts a search, and kills its driver once a trial has reported."""
        with open(self.folder / "killed.log", "w") as log:
            command = [self.latentsweep, *arguments]
            driver = subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=log, stderr=log)
        end = time.monotonic() + 120
        while not list(self.folder.glob("runs/few/trials/*/snapshots/*.npz")):
            assert driver.poll() is None, (self.folder / "killed.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        driver.send_signal(signal.SIGKILL)
        assert driver.wait() == -signal.SIGKILL
        self.end_what_is_left()

    def end_what_is_left(self) -> None:
        mark = f"WALK={self.env['WALK']}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (process / "environ").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)


@pytest.fixture
def away(installed_environment, tmp_path, alone) -> Iterator[Away]:
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as sockets:  # which want short paths
        env = {**alone, "LATENTSWEEP_DATA": str(tmp_path / "data"), "RAY_TMPDIR": sockets, "WALK": uuid.uuid4().hex}
        folder = tmp_path / "away"
        folder.mkdir()
        write_own(folder)
        made = Away(folder, installed_environment.python, env, installed_environment.latentsweep)
        yield made
        made.end_what_is_left()


def digits(away: Away) -> dict:
    save_digits(away.folder, away.python, away.env)
    return {}


def classes(away: Away) -> dict:
    save_pictures(away.folder, "upright", "flat")
    return {"path": "pictures"}


def flat(away: Away) -> dict:
    save_pictures(away.folder)
    return {"path": "pictures", "size": [12, 20]}


@pytest.mark.parametrize(
    ("images", "shape"), [(digits, (1, 28, 28)), (classes, (3, 16, 24)), (flat, (3, 12, 20))], ids=lambda one: str(one)
)
def test_from_ones_own_files_to_a_model(away: Away, images: Callable[[Away], dict], shape: tuple[int, ...]):
    if options := images(away):
        preset = yaml.safe_load((away.folder / "few.yaml").read_text())
        (away.folder / "few.yaml").write_text(yaml.safe_dump({**preset, "dataset_options": options}))
    assert "draws lr, latent (2 to 20 (log))" in away.call("run", "few.yaml", "--dry-run")
    away.kill_in_mid_search("run", "few.yaml")
    run = Run(away.folder / "runs" / "few")
    kept = {trial.number: reports(trial) for trial in open_run(run).study.trials}
    assert "next: latentsweep export few" in away.call("resume", "few")
    study = open_run(run).study
    assert [trial.number for trial in study.trials] == list(range(8))
    for number, made in kept.items():
        assert reports(study.trials[number]).items() >= made.items()
    assert all(2 <= trial.params["latent"] <= 20 for trial in study.trials)
    assert study.user_attrs["images"]
    assert "seed 3 of 3" in away.call("confirm", "few")
    assert "few" in away.call("analysis", "table", "few")
    assert "code=True" in away.call("export", "few", "--out", "few-best")
    card = (away.folder / "few-best" / "README.md").read_text()
    assert "| ranges of the study | latent 2 to 20 (log) |" in card
    assert "± " in card
    load = "import models; print(tuple(models.load('few-best', code=True).sample(2).shape))"
    done = subprocess.run([away.python, "-c", load], cwd=away.folder, env=away.env, capture_output=True, text=True)
    assert done.stdout == f"{(2, *shape)}\n", done.stderr
    assert "code of its own" in away.call("evaluate", "few-best", code=2)
    assert "images, test" in away.call("evaluate", "few-best", "--code")
    if images is digits:
        use = the_one("python", 'models.load("few-best"')
        subprocess.run([away.python, "-c", use], cwd=away.folder, env=away.env, check=True)
    with open(away.folder / "few.py", "a") as file:
        file.write("\n# changed\n")
    assert "few.py has changed since few began" in away.call("resume", "few", code=2)
