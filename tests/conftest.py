"""What the tests of the package share: its sources in a folder of their own, and environments to install it in."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

PROJECT = Path(__file__).resolve().parent.parent
FILES = ("LICENSE", "README.md", "pyproject.toml")
FOLDERS = ("analysis", "benchmarks", "docs", "imagesets", "metrics", "models", "searchspaces", "study", "tests")


class Installed(NamedTuple):
    """A virtual environment that the package is installed in: its interpreter, and its command."""

    python: Path
    latentsweep: Path


@pytest.fixture(scope="session")
def source(tmp_path_factory) -> Path:
    """A copy of the project to build from, because a build leaves folders in it."""
    copy = tmp_path_factory.mktemp("source")
    for name in FILES:
        shutil.copy(PROJECT / name, copy)
    for name in FOLDERS:
        shutil.copytree(PROJECT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return copy


@pytest.fixture(scope="session")
def alone() -> dict[str, str]:
    """Variables of a process that finds nothing of the project by them."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}


@pytest.fixture(scope="session")
def install(tmp_path_factory, alone) -> Callable[..., Installed]:
    """Makes an environment, and installs there what the arguments of `pip install` say; needs no network.

    The requirements are those of the environment that runs the tests, and pip and setuptools too.
    """

    def make(*arguments: str | Path) -> Installed:
        folder = tmp_path_factory.mktemp("environment")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        installed = Installed(folder / "bin" / "python", folder / "bin" / "latentsweep")
        [packages] = folder.glob("lib/python*/site-packages")
        (packages / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
        pip = [installed.python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
        subprocess.run([*pip, *arguments], check=True, env=alone, cwd=folder)
        return installed

    return make


@pytest.fixture(scope="session")
def installed_environment(install, source) -> Installed:
    """An environment after `pip install .`."""
    return install(source)
