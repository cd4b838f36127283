"""The README is true: its commands parse, its presets hold, and the model that it adds trains."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from readme import IMAGES, PROJECT, README, blocks, parsed, write_own

import study.cli
from study import spec

FOLDERS = ("analysis", "benchmarks", "imagesets", "metrics", "models", "searchspaces", "study", "tests")


def commands() -> list[str]:
    lines = [line.partition("  #")[0].strip() for block in blocks("console") for line in block.splitlines()]
    return [line for line in lines if line.startswith(("python -m ", "latentsweep "))]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A current folder with the images, the model and the preset of one's own that the README shows."""
    monkeypatch.chdir(tmp_path)
    write_own(tmp_path)
    exec(IMAGES, {})


@pytest.mark.parametrize("command", commands())
def test_commands_parse(command, own):
    params = parsed(command)
    if "preset" in params:
        spec.load(params["preset"], params["set_"] or [])


def test_every_command_is_named():
    named = {command.split()[3] for command in commands() if command.startswith("python -m study")}
    offered = set(typer.main.get_command(study.cli.app).commands)
    assert offered <= named


def test_preset_is_sound(tmp_path, own):
    for i, block in enumerate(block for block in blocks("yaml") if not block.startswith("#")):
        path = tmp_path / f"{i}.yaml"
        path.write_text(block)
        spec.load(path)


def test_make_targets_exist():
    makefile = (PROJECT / "Makefile").read_text()
    for target in re.findall(r"make (\w+)", "\n".join(blocks("console"))):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_pictures_exist():
    for path in re.findall(r"\]\((docs/[^)]+)\)", README):
        assert (PROJECT / path).is_file(), path


ADDED = {
    first.removeprefix("# "): rest
    for first, _, rest in (block.partition("\n") for block in blocks("python"))
    if re.match(r"# \w+/\S+\.py$", first)
} | dict(re.findall(r"`(study/presets/[^`]+)`:\n\n```yaml\n(.*?)```", README, flags=re.DOTALL))
"""What the README adds, by its path."""
ALONE = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
"""An environment in which the copy finds nothing of the project itself."""
GROWING = ["tests/models", "tests/searchspaces", "tests/study/spec", "tests/study/trial"]
"""Where tests are parametrised by models, parts, spaces and presets."""


@pytest.fixture(scope="module")
def grown(tmp_path_factory) -> Path:
    """A copy of the project, with its tests, to which the README's files are added; nothing else is edited."""
    copy = tmp_path_factory.mktemp("grown")
    for folder in FOLDERS:
        shutil.copytree(PROJECT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", copy)
    for path, text in ADDED.items():
        (copy / path).write_text(text)
    return copy


def test_a_model_is_three_files_and_a_posterior_one():
    assert [Path(path).parts[0] for path in ADDED] == ["models", "searchspaces", "models", "study"]


def test_what_is_added_trains(grown):
    preset = next(Path(path).stem for path in ADDED if path.endswith(".yaml"))
    command = [sys.executable, "-m", "study", "train", preset, "--set", "budget.steps=40"]
    command += ["--set", "budget.report_every=20", "--set", "asha=null"]
    done = subprocess.run(command, cwd=grown, env=ALONE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "1 complete" in done.stdout


@pytest.mark.long
def test_every_test_that_grows_with_models_parts_and_spaces_takes_what_is_added(grown):
    names = {Path(path).stem for path in ADDED if path.startswith("models/")}
    assert len(names) == 2
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", " or ".join(names), *GROWING]
    done = subprocess.run(command, cwd=grown, env=ALONE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert re.search(r"1\d\d passed", done.stdout)
