"""Whatever is wrong in what is given: exit code 2, a few lines, no traceback, in time, and nothing on disk."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fuzz import command_lines, specifications

import analysis.__main__
import models
from study import cli
from study.record.folder import Run
from study.record.seeds import OWN
from study.record.storage import open_run
from study.spec import StudySpec
from study.tune import cluster

PROJECT = Path(__file__).resolve().parents[2]
LIMIT = 120  # seconds
LINES, CHARACTERS = 20, 20_000

HOW = (["run"], ["run", "--dry-run"], ["train"], ["seeds"])


@contextmanager
def in_time(what: object) -> Iterator[None]:
    """Raises TimeoutError in what takes longer than the limit."""

    def over(*_: object) -> None:
        raise TimeoutError(f"{what!r:.300} took longer than {LIMIT} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def here(tmp_path, tmp_path_factory, monkeypatch, ray_down) -> Path:
    """The current folder, and the home: no Ray is started, and no run made, by what should be refused before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path_factory.mktemp("matplotlib")))

    def accepted(*_: object, **__: object) -> None:
        raise AssertionError("it was accepted")

    monkeypatch.setattr(Run, "create", accepted)
    monkeypatch.setattr(cluster.ray, "init", accepted)
    return tmp_path


def wrong_answers(code: int, out: str, err: str) -> list[str]:
    """What is wrong with the answer to bad input."""
    said = out + err
    found = {
        f"exit code {code}": code != 2,
        "nothing is said": not err.strip(),
        "a traceback": "Traceback" in said,
        f"{len(said.splitlines())} lines": len(said.splitlines()) > LINES,
        f"{len(said)} characters": len(said) > CHARACTERS,
        "control characters": any(ord(letter) < 32 and letter not in "\n\t" for letter in said),
    }
    return [what for what, is_so in found.items() if is_so]


@pytest.fixture
def refused(command, listing) -> Callable[..., list[str]]:
    """Calls a command in this process and says what is wrong with its answer."""

    def call(*words: str, **options: object) -> list[str]:
        before = listing()
        try:
            with in_time(words):
                code, out, err = command(*words, **options)
        except BaseException as error:
            return [f"{type(error).__name__}: {error!s:.200}"]
        written = sorted(listing().items() - before.items())
        return [*wrong_answers(code, out, err), *([f"written: {written[:3]}"] if written else [])]

    return call


def told(failures: list[tuple[object, str, list[str]]]) -> str:
    return "\n".join(f"{why} | {given!r:.200} | {'; '.join(wrong)}" for given, why, wrong in failures)


def test_two_hundred_bad_specifications(refused, here):
    path, failures = here / "mine.yaml", []
    for number, bad in enumerate(specifications(0, 200)):
        path.write_bytes(bad.given)
        how, *options = HOW[number % len(HOW)]
        if how == "seeds" and bad.why.startswith(OWN):  # which it has of its own
            how = "train"
        if how == "train" and bad.why.startswith("asha."):  # which it has none of
            how = "run"
        if wrong := refused(how, "mine.yaml", *options):
            failures.append((bad.given[-80:], f"{how} {options}: {bad.why}", wrong))
    assert not failures, told(failures)


APPS = {"study": cli.app, "analysis": analysis.__main__.app}


@pytest.fixture
def furnished(tmp_path, raw, write_export) -> None:
    """A run that is not finished, and an export, beside which command lines go wrong."""
    spec = StudySpec(**raw())
    run = Run(tmp_path / "runs" / "tiny")
    run.create(spec)
    open_run(run, spec, create=True)
    write_export(tmp_path / "exported", models.build("vae", (1, 28, 28), latent=2, hidden=8))


@pytest.mark.long
def test_a_thousand_bad_command_lines(furnished, refused, here):
    failures = []
    for name, share in (("study", 850), ("analysis", 150)):
        for bad in command_lines(APPS[name], 0, share):
            if wrong := refused(*bad.given, app=APPS[name]):
                failures.append((bad.given, f"{name}: {bad.why}", wrong))
    assert not failures, told(failures)


@pytest.mark.long
def test_forty_of_them_as_real_commands(furnished, here, listing):
    lines = [("study", bad) for bad in command_lines(APPS["study"], 1, 34)]
    lines += [("analysis", bad) for bad in command_lines(APPS["analysis"], 1, 6)]
    failures, environment = [], {**os.environ, "PYTHONPATH": str(PROJECT)}
    for name, bad in lines:
        before = listing()
        command = [sys.executable, "-m", name, *bad.given]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment)
        wrong = wrong_answers(done.returncode, done.stdout, done.stderr)
        if listing() != before:
            wrong.append("something is written")
        if wrong:
            failures.append((bad.given, f"{name}: {bad.why}", wrong))
    assert not failures, told(failures)
