"""Every command that is printed for people can be typed as it stands, wherever its run lies."""

import contextlib
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import analysis.__main__
from study import confirm as confirming
from study import solo
from study.cli import app
from study.doctor import examine
from study.export import export
from study.record.folder import Run, RunError, find
from study.record.storage import open_run
from study.record.trials import Outcome
from study.signals import Stop
from study.spec import StudySpec
from study.spec.text import program
from study.tune import cluster, runner

PRINTED = re.compile(r"python -m (study|analysis) ((?:'[^']*'|[^`'\n;])+)")
APPS = {"study": app, "analysis": analysis.__main__.app}


def typed(text: str) -> list[tuple[str, Run | None]]:
    """What the commands in a text do when they are typed: the command's name, and the run that it finds."""
    return [_parsed(APPS[package], shlex.split(line)) for package, line in PRINTED.findall(text)]


def _parsed(app: typer.Typer, words: list[str]) -> tuple[str, Run | None]:
    command, name = typer.main.get_command(app), ""
    while True:
        context = command.make_context(name, list(words))
        left = [*context._protected_args, *context.args]
        if not left:
            break
        name, command, words = command.resolve_command(context, left)
    given = context.params.get("given") or context.params.get("runs")
    return name, given and find(given if isinstance(given, str) else given[0], context.params["root"], whole=False)


@pytest.fixture(params=["else where", "runs"])
def root(request, tmp_path, monkeypatch) -> Path:
    """Where the runs lie, as it is given on a command line."""
    monkeypatch.chdir(tmp_path)
    return Path(request.param)


@pytest.fixture
def made(root, raw) -> Run:
    """A run without a study."""
    run = Run(root / "tiny")
    run.create(StudySpec(**raw(trials=1, budget={"steps": 10})))
    return run


@pytest.fixture
def trained(root, raw) -> Run:
    run = Run(root / "tiny")
    solo.train(StudySpec(**raw(budget={"steps": 10})), run)
    return run


def only(text: str, name: str, run: Run) -> None:
    """Checks that a text holds that command for that run, and no other."""
    [(command, found)] = typed(text)
    assert command == name
    assert found is not None
    assert found.path == run.path


def test_after_a_training(root, preset, command, tmp_path):
    path = preset(tmp_path, budget={"steps": 10})
    code, out, _ = command("train", path, "--root", root)
    assert code == 0
    only(out, "export", Run(root / "tiny"))
    code, out, _ = command("resume", "tiny", "--root", root)
    only(out, "export", Run(root / "tiny"))
    [line] = [line for line in out.splitlines() if line.startswith("next: python -m study ")]
    assert command(*shlex.split(line.removeprefix("next: python -m study ")))[0] == 0
    assert Path("best/tiny/model.safetensors").is_file()


def test_where_a_run_is_there_already(trained):
    with pytest.raises(RunError) as refused:
        trained.check_new()
    only(str(refused.value), "resume", trained)


def test_where_the_specification_is_damaged_or_gone(trained):
    trained.study_yaml.write_text("name: [")
    with pytest.raises(RunError) as refused:
        trained.spec()
    only(str(refused.value), "doctor", trained)
    trained.study_yaml.unlink()
    with pytest.raises(RunError) as refused:
        find(trained.path)
    only(str(refused.value), "doctor", trained)


def test_what_the_doctor_says(trained, capsys):
    shutil.rmtree(trained.path / "trials")
    trained.table("curves").unlink()
    examine(trained, fix=False)
    only(capsys.readouterr().out, "doctor", trained)


def test_before_there_is_a_study_or_a_trial(made, command, tmp_path):
    code, out, _ = command("doctor", made.path)
    only(out, "resume", made)
    only(command("status", made.path)[2], "resume", made)
    open_run(made, create=True)
    for arguments in (("export", made.path, "--out", tmp_path / "out"), ("confirm", made.path)):
        code, _, err = command(*arguments)
        assert code == 2
        only(err, "resume", made)


@contextlib.contextmanager
def asked_to_stop(how_to_go_on) -> Iterator[Stop]:
    print(how_to_go_on())
    stop = Stop()
    stop.signal = 15
    yield stop


def test_what_is_said_when_it_is_stopped(made, monkeypatch, capsys):
    for module in (solo, runner):
        monkeypatch.setattr(module, "stopping_on_signals", asked_to_stop)
    solo.resume(made)
    only(capsys.readouterr().out, "resume", made)
    with runner._stopping(made):
        only(capsys.readouterr().out, "resume", made)


def test_what_is_said_when_a_confirmation_is_stopped(trained, monkeypatch, capsys):
    capsys.readouterr()
    monkeypatch.setattr(confirming, "stopping_on_signals", asked_to_stop)
    monkeypatch.setattr(cluster, "ray_started", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # it got as far as starting Ray
        confirming.confirm(trained)
    only(capsys.readouterr().out, "confirm", trained)


def test_after_a_confirmation(trained, monkeypatch, command):
    monkeypatch.setattr(confirming, "confirm", lambda *_, **__: None)
    only(command("confirm", trained.path)[1], "table", trained)


def test_when_the_disk_is_full(made, monkeypatch, command):
    monkeypatch.setattr(solo, "resume", lambda *_, **__: Outcome(0, 0, 0, halted="disk: no space left"))
    code, _, err = command("resume", made.path)
    assert code == 1
    only(err, "resume", made)


def test_the_model_card(trained, tmp_path):
    """It travels, and so names the run without where it lies."""
    export(trained, tmp_path / "out")
    [(package, line)] = PRINTED.findall((tmp_path / "out" / "README.md").read_text())
    assert (package, shlex.split(line)) == ("study", ["confirm", trained.name])


def test_how_to_get_a_data_set_into_the_folder_that_was_named(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = command("datasets", "--data", "my data")[1]
    found = typed(out)
    assert found
    assert {name for name, _ in found} == {"get"}
    assert all(line.endswith(f"--data '{tmp_path}/my data'") for _, line in PRINTED.findall(out))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("address", [None, "head.node:10001"])
def test_what_was_given_goes_on_with_the_command(made, monkeypatch, command, tmp_path, address):
    for module in (solo, runner):
        monkeypatch.setattr(module, "resume", lambda *_, **__: Outcome(0, 0, 0, halted="disk: no space left"))
    (tmp_path / "my data").mkdir()
    flags = [] if address is None else ["--address", address, "--wait"]
    _, _, err = command("resume", made.path, "--data", "my data", *flags)
    only(err, "resume", made)
    words = shlex.split(PRINTED.findall(err)[0][1])
    assert words[2:] == ["--data", str(tmp_path / "my data"), *flags]
    assert "--data" not in command("resume", made.path)[2]  # which is the next command line's own


def test_what_is_printed_works_from_another_folder(raw, preset, command, tmp_path, monkeypatch):
    """Of a run that lies elsewhere than in `runs`: each command that is printed is typed as it stands."""
    monkeypatch.chdir(tmp_path)
    path = preset(tmp_path, budget={"steps": 10})
    Run("else where/young").create(StudySpec(**raw(name="young", trials=1, budget={"steps": 10})))
    said = ["".join(command("train", path, "--root", "else where")[1:])]
    for words in (["train", path], ["status", "young"], ["export", "young", "--out", "x"], ["doctor", "young"]):
        said.append("".join(command(*words, "--root", "else where")[1:]))
    printed = dict.fromkeys(line for text in said for _, line in PRINTED.findall(text))
    assert {shlex.split(line)[0] for line in printed} == {"export", "resume"}
    (tmp_path / "another").mkdir()
    monkeypatch.chdir(tmp_path / "another")
    for line in printed:
        code, _, err = command(*shlex.split(line))
        assert (line, code, err) == (line, 0, "")


def test_who_started_latentsweep_is_told_to_type_it(monkeypatch):
    assert (program(), program("analysis")) == ("python -m study", "python -m analysis")
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/latentsweep", "run"])
    assert (program(), program("analysis")) == ("latentsweep", "latentsweep analysis")
