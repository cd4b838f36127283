"""What `pip install .` installs, and that the tested versions are among those that it allows."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parent.parent
ABOUT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = ("analysis", "imagesets", "metrics", "models", "searchspaces", "study")
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory, alone) -> list[str]:
    """The files of the wheel. setuptools is there because torch asks for it."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run([sys.executable, "-c", BUILD, folder], cwd=source, env=alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [built] = folder.glob("*.whl")
    return zipfile.ZipFile(built).namelist()


def test_everything_in_the_packages_is_installed_and_nothing_else(wheel, source):
    files = [path for package in PACKAGES for path in (source / package).rglob("*") if path.is_file()]
    of_ours = {path.relative_to(source).as_posix() for path in files}
    assert {path for path in wheel if ".dist-info/" not in path} == of_ours
    assert "study/presets/quickstart.yaml" in of_ours


def test_the_licence_is_in_it(wheel):
    assert f"latentsweep-{ABOUT['version']}.dist-info/licenses/LICENSE" in wheel


def requirements(lines: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(found.name): found for found in map(Requirement, lines)}


PINNED = requirements(
    [
        line
        for line in (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
)
EXTRAS = ABOUT["optional-dependencies"]
ALLOWED = requirements(ABOUT["dependencies"] + EXTRAS["dev"] + EXTRAS["umap"])


def test_every_requirement_has_a_tested_version_and_no_other():
    assert PINNED.keys() == ALLOWED.keys()


@pytest.mark.parametrize("name", PINNED)
def test_the_tested_version_is_allowed_and_can_be_a_constraint(name):
    [pin] = PINNED[name].specifier
    assert pin.operator == "=="
    assert pin.version in ALLOWED[name].specifier
    assert not PINNED[name].extras  # pip takes none in a file of constraints
