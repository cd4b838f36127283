"""`latentsweep` has the commands of study and of analysis, and their exit codes."""

import sys

import pytest
import typer

import analysis.__main__
import study.cli
from analysis import command


def commands(app: typer.Typer) -> dict:
    return typer.main.get_command(app).commands


def called(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["latentsweep", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.run()
    return ended.value.code


def test_it_has_all_commands_of_both_and_study_has_none_of_analysis():
    assert commands(command.app).keys() == commands(study.cli.app).keys() | {"analysis"}
    assert "analysis" not in commands(study.cli.app)
    assert commands(command.app)["analysis"].commands.keys() == commands(analysis.__main__.app).keys()


@pytest.mark.parametrize("arguments", [("run", "quickstrat"), ("analysis", "table", "nothing")])
def test_a_mistake_is_a_line_and_exit_code_2(monkeypatch, capsys, tmp_path, arguments):
    monkeypatch.chdir(tmp_path)
    assert called(monkeypatch, *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(("installed", "says"), [("1.2.3", "1.2.3"), (None, "(a checkout, not installed)")])
def test_the_version(monkeypatch, capsys, installed, says):
    monkeypatch.setattr(study.cli, "release", lambda package: installed)
    assert called(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"latentsweep {says}\n"
