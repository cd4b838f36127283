"""What need not load torch, or another heavy package, does not: help, lists, refusals, and where a run stands."""

import subprocess
from collections.abc import Callable

import pytest

from study.record.folder import Run

HEAVY = ("torch", "ray", "torchvision", "sklearn", "matplotlib", "scipy", "tensorboardX")

CALL = f"""
import runpy, sys
package, sys.argv = sys.argv[1], sys.argv[1:]
try:
    runpy.run_module(package, run_name="__main__", alter_sys=True)
except SystemExit as end:
    code = end.code or 0
else:
    code = 0
heavy = [name for name in {HEAVY} if name in sys.modules]
print("loaded:", *heavy)
sys.exit(code)
"""


@pytest.fixture
def loaded(python, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """Calls a command in a process of its own: its exit code, what it prints, and the heavy packages that it loaded."""

    def call(command: str) -> tuple[int, str, str]:
        done: subprocess.CompletedProcess = python("-c", CALL, *command.split(), cwd=tmp_path, check=False)
        said, mark, heavy = done.stdout.rpartition("loaded:")
        assert mark, done.stderr
        assert "Traceback" not in done.stderr
        return done.returncode, said + done.stderr, heavy.strip()

    return call


@pytest.mark.parametrize("command", ["study --help", "study presets", "study models", "study datasets"])
def test_help_and_lists_load_nothing_heavy(loaded, command):
    code, said, heavy = loaded(command)
    assert (code, heavy) == (0, "")
    assert said


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("study runn", "No such command 'runn'"),
        ("study run vsc-mnits", "Did you mean 'vsc-mnist'?"),
        ("study train vsc-mnits", "Did you mean 'vsc-mnist'?"),
        ("study seeds vsc-mnits", "Did you mean 'vsc-mnist'?"),
        ("study run vsc-mnist --set model=vcs", "Did you mean 'vsc'?"),
        ("study run vae-mnist --set dataset=mnits", "Did you mean 'mnist'?"),
        ("study run vae-mnist --set dataset=mnits --set fixed.latnt=3", "Did you mean 'latent'?"),
        ("study run vae-mnist --set dataset=mnits --set fixed.prior=vamb", "'standard' or 'vamp', got 'vamb'"),
        ("study run quickstart --set modle=3", "modle: there is no such key"),
        ("study run nonsyn-sprites --set modle=3", "modle: there is no such key"),
        ("study run quickstart --set budget.stesp=3", "Did you mean 'steps'?"),
        ("study run quickstart --set trials=many --set fixed.latent=0", "got 'many'"),
        ("study datasets get mnits", "Did you mean 'mnist'?"),
        ("study status gone", "no run 'gone'"),
        ("study doctor gone", "no run 'gone'"),
        ("study resume gone", "no run 'gone'"),
        ("study confirm gone", "no run 'gone'"),
        (
            "study run quickstart --dry-run --address nonsense",
            "--address: needs HOST:PORT, as `ray start",
        ),
        ("study seeds quickstart --dry-run --address 1.2.3.4:99999999", "--address: needs HOST:PORT"),
        ("study run quickstart --dry-run --address=", "auto or local, got ''"),
        ("study resume gone --address nonsense", "--address: needs HOST:PORT"),
        ("study dashboard gone", "no run 'gone'"),
        ("study export gone --out best", "no run 'gone'"),
        ("study evaluate gone", "gone is not an exported model"),
        ("study encode gone new.npz --out codes.csv", "gone is not an exported model"),
        ("study sample gone --out sheet.png", "gone is not an exported model"),
        ("analysis table gone", "no run 'gone'"),
        ("analysis figures gone", "no run 'gone'"),
        ("analysis report gone", "no run 'gone'"),
        ("analysis table gone --format parquet", "--format parquet: is no text for standard output"),
    ],
)
def test_names_are_refused_before_anything_heavy_is_loaded(loaded, command, says):
    code, said, heavy = loaded(command)
    assert (code, heavy) == (2, "")
    assert says in " ".join(said.split())


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("study status tiny", "1 complete, 1 pruned, 1 failed, 1 unfinished, of 4 trials"),
        ("study doctor tiny", "tiny is sound"),
        ("analysis table tiny", "COMPLETE"),
    ],
)
def test_a_run_is_looked_at_without_torch(run: Run, loaded, command, says):
    code, said, heavy = loaded(command)
    assert says in said
    assert (code, heavy) == (0, "")


def test_tables_are_made_again_without_torch(run: Run, loaded):
    run.table("results").unlink()
    code, said, heavy = loaded("analysis table tiny")
    assert "COMPLETE" in said
    assert (code, heavy) == (0, "")
