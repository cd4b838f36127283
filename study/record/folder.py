"""A run on disk: where its files lie, who may write them, and how they are written whole or not at all; an open run."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import re
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from study import spec as specs
from study.spec.problems import SpecError, nearest
from study.spec.text import command, dump
from study.trial.files import folder_written_whole, unwritable, unwritable_file, write_whole

if TYPE_CHECKING:
    import optuna

    from study.spec import StudySpec

RUNS = Path("runs")
LATE = 10.0  # seconds after which a network disk shows to all what one machine has written
OF_A_RUN = re.compile(  # which `trials` and `confirm` hold trainings of
    r"study\.yaml|(environment|start)\.json|optuna\.(db|journal).*|\.lock|(results|curves|train|confirm)\.parquet"
    r"|(trials|confirm|ray|artifacts)/.*"
)
OF_AN_EXPORT = ("model.safetensors", "config.json", "metrics.json", "README.md")


class RunError(Exception):
    """A run folder that is not there, is there already, is in use, or is not one."""


def unwritable_output(path: Path) -> str:
    """Why a file is not to be written that a command makes: it cannot be, or a run or an export would lose its own."""
    whole = path.resolve()
    for folder in whole.parents:
        inside = whole.relative_to(folder).as_posix()
        if (folder / "study.yaml").is_file() and OF_A_RUN.fullmatch(inside):
            return f"{path} is the run's own"
        if (folder / "model.safetensors").is_file() and inside in OF_AN_EXPORT:
            return f"{path} is the export's own"
    return unwritable_file(path)


class Run:
    """The folder of one run.

    Args:
        path: runs/<name>; `~` is the home.
    """

    def __init__(self, path: str | Path):
        self.path = Path(os.path.expanduser(path)).resolve()
        self.study_yaml = self.path / "study.yaml"
        self.environment = self.path / "environment.json"
        self.start = self.path / "start.json"
        self.database = self.path / "optuna.db"
        self.journal = self.path / "optuna.journal"
        self.ray = self.path / "ray"
        self.artifacts = self.path / "artifacts"
        self.lock = self.path / ".lock"

    @property
    def name(self) -> str:
        return self.path.name

    def trial(self, number: int) -> Path:
        """The folder of one trial: checkpoints and TensorBoard."""
        return self.path / "trials" / f"{number:05d}"

    def pictures(self, number: int) -> list[Path]:
        """The pictures that one trial has made, one a report, the last one last."""
        return sorted((self.trial(number) / "snapshots").glob("[0-9]*.png"))

    def confirmation(self, configuration: str, repeat: int) -> Path:
        """The folder of one configuration's training on one fresh seed."""
        return self.path / "confirm" / f"{configuration}-{repeat}"

    def table(self, name: str) -> Path:
        """A table's file: results, curves, train or confirm."""
        return self.path / f"{name}.parquet"

    def spec(self) -> StudySpec:
        """The resolved specification that the run was started with.

        Raises:
            RunError: study.yaml is missing or damaged.
        """
        try:
            return specs.load(self.study_yaml, kept=True)
        except SpecError as error:
            raise RunError(
                f"{self.study_yaml} is not the specification of a run any more: {error}\n"
                f"`{command('doctor', self.argument, '--fix')}` makes it again from the study"
            ) from None

    @property
    def argument(self) -> str:
        """How the command line names the run: by its name where it lies in runs/, else by its folder."""
        return shlex.quote(self.name if self.path.parent == RUNS.resolve() else str(self.path))

    def goes_on(self, spec: StudySpec) -> str:
        """The command that goes on with the run: with its search, or where it has none, with its confirmation."""
        return command("resume" if spec.trials else "confirm", self.argument)

    def check_new(self) -> None:
        """Raises RunError if the folder exists, or lies where none can be made; changes nothing."""
        if self.study_yaml.is_file():
            raise RunError(
                f"{self.path} exists already; go on with `{command('resume', self.argument)}`, "
                f"or name another with --set name=..."
            )
        if self.path.exists():
            raise RunError(f"{self.path} exists already and holds no run; remove it, or name another: --set name=...")
        if reason := unwritable(self.path):
            raise self._cannot_be_made(reason)

    def _cannot_be_made(self, reason: str | None) -> RunError:
        return RunError(f"cannot make {self.path}: {reason}; name another place with --root")

    def create(self, spec: StudySpec, start: str | None = None) -> None:
        """Makes the folder, with the specification and the environment in it.

        Args:
            spec: of the study.
            start: what `study.record.start` keeps of an earlier study.

        Raises:
            RunError: the folder exists, or cannot be made.
        """
        self.check_new()
        try:
            with folder_written_whole(self.path) as made:  # a run has both files from its first moment
                (made / self.environment.name).write_text(json.dumps(environment(), indent=2) + "\n")
                (made / self.study_yaml.name).write_text(dump(spec), encoding="utf-8")
                if start is not None:
                    (made / self.start.name).write_text(start, encoding="utf-8")
        except OSError as error:
            self.check_new()  # of two that start at once one is the first
            raise self._cannot_be_made(error.strerror) from None

    def made_with(self) -> dict[str, Any]:
        """What environment.json says; empty where it is gone or damaged, which `doctor` tells of."""
        try:
            said = json.loads(self.environment.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return said if isinstance(said, dict) and "commit" in said else {}

    def rewrite(self, spec: StudySpec) -> None:
        """Puts another specification in the place of the run's own; for who holds the run."""
        write_whole(self.study_yaml, lambda path: path.write_text(dump(spec), encoding="utf-8"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the run for this process alone; the kernel lets go when the process ends, however it ends.

        Raises:
            RunError: another process holds it, or the folder cannot be written.
        """
        try:
            descriptor = os.open(self.lock, os.O_WRONLY | os.O_CREAT, 0o644)
        except OSError as error:
            raise RunError(f"{self.path} cannot be written ({error.strerror}); nothing was changed") from None
        with open(descriptor, "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(f"{self.path} is in use by another process; wait for it, or stop it") from None
            yield

    def mark(self) -> str:
        """Leaves a mark in the folder that no other disk has there, and returns it; for who holds the run."""
        with suppress(OSError):  # a full disk: then the mark is none, and `study.yaml` is all that is looked for
            self.lock.write_text(secrets.token_hex(16))
        return self.marked()

    def marked(self) -> str:
        """The last mark; empty where there is none."""
        return self.lock.read_text() if self.lock.is_file() else ""

    def check_seen(self, mark: str) -> None:
        """Raises an OSError, which says this machine's name, where this is not the folder that has the mark.

        A machine that comes to a cluster late was not looked at before the first trial.
        """
        end = time.monotonic() + LATE
        while not (seen := self.study_yaml.is_file()) or self.marked() != mark:
            if time.monotonic() >= end:
                what = f"sees another {self.path} than the one" if seen else f"does not see {self.path},"
                remedy = "mount it there, or take the machine from the cluster"
                raise OSError(errno.ESTALE, f"{platform.node()} {what} where the run lies; {remedy}")
            time.sleep(0.2)

    def is_held(self) -> bool:
        """Whether a process holds the run just now; changes nothing. Of a lock that cannot be opened, nobody knows."""
        try:
            descriptor = os.open(self.lock, os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return isinstance(error, BlockingIOError)
        finally:
            os.close(descriptor)
        return False


class OpenRun(NamedTuple):
    """A run whose study is open in this process: `study.record.storage` opens one."""

    run: Run
    spec: StudySpec
    study: optuna.Study


def find(run: str | Path, root: str | Path = RUNS, whole: bool = True) -> Run:
    """The run of that name under `root`, or in the folder of that path.

    Args:
        run: its name, or its folder.
        root: where named runs lie; under one that was chosen, a bare name is no folder of the current one.
        whole: refuse what is left of a run without its specification.

    Raises:
        RunError: there is no such run.
    """
    root = Path(os.path.expanduser(root))
    named, folder = Run(root / run), Run(run)
    looked_at = (named,) if root != RUNS and _is_bare(run) else (named, folder)
    for found in looked_at:
        if os.path.isfile(found.study_yaml):  # which no name is too long for
            return found
        if any(map(os.path.exists, (found.database, found.journal, found.path / "trials"))):
            if not whole:
                return found
            again = command("doctor", found.argument, "--fix")
            raise RunError(f"{found.study_yaml} is gone; `{again}` makes it again from the study")
    known = sorted(path.parent.name for path in root.glob("*/study.yaml"))
    there = f"runs in {root}: {', '.join(known)}" if known else f"there is none in {root} yet"
    if empty := [found.path for found in looked_at if os.path.isdir(found.path)]:
        there = f"the folder {empty[0]} holds no study; {there}"
    if os.path.isfile(folder.study_yaml):
        there += f"; the one in the current folder is ./{run}"
    raise RunError(f"no run {str(run)!r}; {there}{nearest(str(run), known)}")


def _is_bare(run: str | Path) -> bool:
    """Whether it can be a name: it has no part of a path's own."""
    return os.path.basename(run) == str(run) not in (os.curdir, os.pardir) and not str(run).startswith("~")


def environment() -> dict[str, Any]:
    """What a result depends on beside its specification: versions, code, machine."""
    import torch

    packages = ("latentsweep", "torch", "ray", "optuna", "numpy", "pandas", "torchvision")
    tracked = _git("ls-files", "--error-unmatch", Path(__file__).name) is not None  # not an environment in a repository
    return {
        "python": sys.version.split()[0],
        "packages": {name: release(name) for name in packages},
        "commit": _git("rev-parse", "HEAD") if tracked else None,
        "changed": bool(_git("status", "--porcelain")) if tracked else None,
        "host": platform.node(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def release(package: str) -> str | None:
    """The version of a package that is installed, or None: a single training needs no Ray, and a checkout is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
