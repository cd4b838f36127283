"""What is installed works from any folder, whatever lies there, without the checkout."""

import json
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
PACKAGES = ("imagesets", "models", "metrics", "searchspaces", "study", "analysis")
TINY = """
model: vae
dataset: mnist5k
fixed: {posterior: gaussian, prior: standard, hidden: 16, latent: 4}
sampler: random
trials: 2
budget: {steps: 20, batch: 32, report_every: 10}
asha: null
"""
WHERE = f"""
import json, sys, {", ".join(PACKAGES)}
print(json.dumps([sys.path, *(sys.modules[name].__file__ for name in {PACKAGES})]))
"""

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Path:
    """A folder with a preset, a data folder, and packages of somebody's that are called like ours."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "tiny.yaml").write_text(TINY)
    for name in PACKAGES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise RuntimeError('not ours')\n")
    return folder


@pytest.fixture(scope="module")
def latentsweep(installed_environment, elsewhere, alone) -> Iterator[Callable[..., str]]:
    """Calls the installed command there: what it prints, which is an error's lines where it fails with that code."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as sockets:  # which want short paths
        env = {**alone, "LATENTSWEEP_DATA": str(elsewhere / "data"), "RAY_TMPDIR": sockets}

        def call(*arguments: str, code: int = 0) -> str:
            command = [installed_environment.latentsweep, *arguments]
            done = subprocess.run(command, cwd=elsewhere, env=env, capture_output=True, text=True, timeout=300)
            assert done.returncode == code, (done.stdout, done.stderr)
            return done.stderr if code else done.stdout

        yield call


def test_it_is_imported_anywhere_without_the_checkout(installed_environment, tmp_path, alone):
    (tmp_path / "study").mkdir()  # no package
    command = [installed_environment.python, "-c", WHERE]
    done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, check=True)
    searched, *files = json.loads(done.stdout)
    assert str(PROJECT) not in searched
    assert all(Path(file).is_relative_to(installed_environment.python.parents[1]) for file in files)


def test_the_commands_that_only_look(latentsweep):
    assert latentsweep("--version") == f"latentsweep {VERSION}\n"
    assert "quickstart" in latentsweep("presets")
    assert "vsc on mnist5k" in latentsweep("run", "quickstart", "--dry-run")
    assert "table" in latentsweep("analysis", "--help")


def test_a_mistake_is_a_line(latentsweep):
    assert latentsweep("run", "quickstrat", code=2).startswith("quickstrat: no such preset or file")
    assert latentsweep("analysis", "table", "nothing", code=2).startswith("no run 'nothing'")


def test_a_search(latentsweep, elsewhere):
    assert "2 complete" in latentsweep("run", "tiny.yaml")
    assert "COMPLETE" in latentsweep("analysis", "table", "tiny")
    made_with = json.loads((elsewhere / "runs" / "tiny" / "environment.json").read_text())
    assert (made_with["packages"]["latentsweep"], made_with["commit"]) == (VERSION, None)


def test_an_editable_one_follows_the_checkout(install, source, tmp_path, alone):
    checkout = shutil.copytree(source, tmp_path / "checkout")
    installed = install("--editable", checkout)
    (checkout / "study" / "added").mkdir()
    (checkout / "study" / "added" / "__init__.py").write_text("")
    (checkout / "study" / "presets" / "added.yaml").write_text(TINY)
    command = [installed.python, "-c", "import study.added, analysis.figures"]
    subprocess.run(command, cwd=tmp_path, env=alone, check=True)
    command = [installed.latentsweep, "run", "added", "--dry-run"]
    assert "vae on mnist5k" in subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True).stdout
