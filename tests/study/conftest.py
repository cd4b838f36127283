"""What the tests of the platform share: prepared data, small specifications, and ways to call the command line."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from damage import build
from ended import EVERY, FULL, SEARCH, SEEDS
from shapes import data_set_for

import imagesets
import models
import searchspaces
from benchmarks import postgres
from imagesets import Split, Splits
from models.base import VAE
from study.record.folder import Run
from study.signals import Stop
from study.spec import StudySpec

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session", autouse=True)
def data(tmp_path_factory) -> Iterator[Path]:
    """A data folder in which mnist5k is cached, so that no test writes there; it is the default one."""
    folder = tmp_path_factory.mktemp("data")
    imagesets.load("mnist5k", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTSWEEP_DATA", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A trial uses the threads it was given, one; so does this process, whose numbers are compared with a trial's."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def raw() -> Callable[..., dict[str, Any]]:
    """Makes a small specification, as read from a file; keywords add keys or replace them, groups are merged."""

    def make(**changes: Any) -> dict[str, Any]:
        raw = {
            "name": "tiny",
            "model": "vae",
            "dataset": "mnist5k",
            "fixed": {"hidden": 16, "latent": 4, "beta": 1.0, "kl_warmup": 0.0},
            "sampler": "random",
            "trials": 2,
            "budget": {"steps": 60, "batch": 32, "report_every": 10, "log_every": 5},
        }
        for key, value in changes.items():
            raw[key] = {**raw[key], **value} if key in ("fixed", "budget") and isinstance(value, dict) else value
        if raw["model"] == "vae" and isinstance(raw["fixed"], dict):  # and no other paper's parts
            raw["fixed"] = {"posterior": "gaussian", "prior": "standard", **raw["fixed"]}
        return raw

    return make


@pytest.fixture(scope="session")
def write_export() -> Callable[..., Path]:
    """Writes a model to a folder that is made, as `export` does, as far as `evaluate` reads it."""

    def make(folder: Path, model: VAE, **said: Any) -> Path:
        folder.mkdir()
        config = {
            "model": model.name,
            "image_shape": list(model.image_shape),
            "hyperparameters": model.hyperparameters,
            "dataset": "mnist5k",
            "dataset_options": {},
            "preprocessing": {},
            "pairing": "index",
            **said,
        }
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors")
        return folder

    return make


@pytest.fixture(scope="session")
def small(raw) -> Callable[..., StudySpec]:
    """Makes a small specification of a model, with the objectives that leave all of its hyperparameters free."""

    def make(model: str = "vae", **changes: Any) -> StudySpec:
        objective = [models.objective(model), *searchspaces.trade_offs(model).values()]
        changed = {"validation": {"samples": 10}, **changes}
        given = raw(model=model, dataset=data_set_for(model), objective=objective, **changed)
        return StudySpec(**{**given, "fixed": changes.get("fixed", {})})

    return make


@pytest.fixture(scope="session")
def preset(raw) -> Callable[..., Path]:
    """Writes a small specification to a file in a folder; keywords as for `raw`."""

    def write(folder: Path, **changes: Any) -> Path:
        path = folder / "tiny.yaml"
        path.write_text(yaml.safe_dump(raw(**changes)), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def splits() -> Splits:
    """Fifty training and twenty validation images of 8x8 pixels, half of them bright to the left, half to the right.

    Training image i is recognised by its corner, i.
    """
    random = np.random.default_rng(0)
    ramp = np.broadcast_to(np.linspace(0, 200, 8), (8, 8))

    def draw(n: int) -> np.ndarray:
        noise = random.integers(0, 56, (n, 1, 8, 8))
        return (noise + np.where(np.arange(n)[:, None, None, None] % 2, ramp, ramp[:, ::-1])).astype(np.uint8)

    train, valid, test = draw(50), draw(20), draw(20)
    train[:, 0, 0, 0] = np.arange(50)
    return Splits(Split(train), Split(valid), Split(test))


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.CompletedProcess]:
    """Runs Python in a new process that finds the project from any folder."""

    def run(*arguments: str, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess:
        env = {**os.environ, "PYTHONPATH": str(PROJECT)}
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, env=env)
        assert not check or done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def command(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Calls `python -m study` in this process: (exit code, standard output, standard error)."""
    from study import cli

    def call(*arguments: str | Path, app: Any = cli.app) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["study", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main(app)
        return (ended.value.code or 0, *capsys.readouterr())

    return call


class RayFolder:
    """Where one Ray keeps its sockets and logs, which tells its processes from all others."""

    def __init__(self, path: Path):
        self.path = path

    def processes(self) -> dict[int, str]:
        """Those that hold a file there open, but for this one: id -> command line."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                held = any(os.readlink(fd).startswith(str(self.path)) for fd in (process / "fd").iterdir())
                if held and int(process.name) != os.getpid():
                    found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
        return found

    def wait_until_gone(self, besides: str | None = None, seconds: float = 60) -> dict[int, str]:
        """Waits for the end of all processes but those with that in their command line; returns what is left."""
        deadline = time.monotonic() + seconds
        while True:
            left = {pid: line for pid, line in self.processes().items() if besides is None or besides not in line}
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.1)


@pytest.fixture(scope="session")
def ray_folder() -> Callable[[], AbstractContextManager[RayFolder]]:
    """A folder of its own for a Ray that is started inside the context; what is left of that Ray is ended after it."""

    @contextmanager
    def make() -> Iterator[RayFolder]:
        with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as path:  # sockets want short paths
            folder = RayFolder(Path(path))
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("RAY_TMPDIR", path)
                yield folder
            for pid in folder.processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    return make


@pytest.fixture(scope="session")
def local_ray(ray_folder) -> Callable[..., AbstractContextManager[None]]:
    """A small Ray on this machine, as a context; keywords go to `ray.init`."""

    @contextmanager
    def started(**options: Any) -> Iterator[None]:
        from study.tune import cluster
        from study.tune.start import start

        with ray_folder():
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("PYTHONPATH", str(PROJECT))
                start(Stop(), **{"num_cpus": 2, **cluster.QUIET, **options})
            yield
            cluster.ray.shutdown()

    return started


class SharedRay:
    """The Ray of all tests of this process that only need one; it is started when the first asks for it."""

    def __init__(self, start: Callable[[], AbstractContextManager[None]]):
        self._start, self._running = start, ExitStack()
        self._up = False

    def up(self) -> None:
        if not self._up:
            self._running.enter_context(self._start())
            self._up = True

    def down(self) -> None:
        self._running.close()
        self._up = False


@pytest.fixture(scope="session")
def shared_ray(local_ray) -> Iterator[SharedRay]:
    shared = SharedRay(local_ray)
    yield shared
    shared.down()


@pytest.fixture(scope="module")
def ray_up(shared_ray) -> None:
    """A Ray, which other tests use too."""
    shared_ray.up()


@pytest.fixture(scope="module")
def ray_down(shared_ray) -> None:
    """No Ray in this process, for tests of how one is started."""
    shared_ray.down()


@pytest.fixture
def listing(tmp_path) -> Callable[[], dict[str, tuple[int, int]]]:
    """Every path under tmp_path with its size and the time of its last change."""

    def look() -> dict[str, tuple[int, int]]:
        found = [tmp_path, *sorted(tmp_path.rglob("*"))]
        return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in found}

    return look


@pytest.fixture(scope="session")
def built(raw, data, tmp_path_factory) -> Callable[..., Path]:
    """Makes a run once for each storage; returns the folder that holds `runs`."""
    made: dict[str | None, Path] = {}

    def make(kept: str | None) -> Path:
        if kept not in made:
            made[kept] = tmp_path_factory.mktemp("built")
            build(raw, made[kept], storage=kept)
        return made[kept]

    return make


@pytest.fixture
def fresh(built, tmp_path, monkeypatch) -> Callable[..., Run]:
    """A sound run of one's own, in runs/."""
    monkeypatch.chdir(tmp_path)

    def copy(kept: str | None = None) -> Run:
        shutil.copytree(built(kept) / "runs", tmp_path / "runs", copy_function=shutil.copy2)
        return Run(tmp_path / "runs" / "tiny")

    return copy


@pytest.fixture
def run(fresh) -> Run:
    return fresh()


@pytest.fixture
def doctor(command) -> Callable[..., tuple[int, list[str]]]:
    """Calls the command: its exit code, and the lines that it prints."""

    def call(*arguments: str) -> tuple[int, list[str]]:
        code, out, err = command("doctor", "tiny", *arguments)
        assert err == ""
        return code, out.splitlines()

    return call


@pytest.fixture(scope="module")
def make(raw) -> Callable[..., StudySpec]:
    """The specification of a search that ended, whose trials are `ended.SEARCH`."""
    return functools.partial(
        lambda **changes: StudySpec(**raw(**changes)),
        trials=len(SEARCH),
        seed=11,
        budget={"steps": FULL, "report_every": EVERY},
        confirm={"top": 2, "seeds": SEEDS, "samples": 8, "images": 40, "scores": []},
    )


@pytest.fixture
def no_ray(monkeypatch) -> None:
    """Lets a test fail that would start Ray."""
    from study.tune import cluster

    def refuse(*_: Any) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(cluster, "ray_started", refuse)


@pytest.fixture(scope="session")
def installed() -> None:
    """PostgreSQL is on this machine."""
    if postgres.binaries() is None and os.environ.get("LATENTSWEEP_POSTGRES") != "required":
        pytest.skip(postgres.INSTALL)
