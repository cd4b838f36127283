"""What the README shows, for tests that do as it says."""

import re
import shlex
from pathlib import Path
from typing import Any

import typer

import analysis.__main__
import analysis.command
import study.cli

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, page: str = README) -> list[str]:
    """The blocks of a page in a language: console, python or yaml."""
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


def parsed(command: str) -> dict[str, Any]:
    """What the command line makes of a command of ours; raises on an unknown option or a missing argument."""
    module, *arguments = shlex.split(command.removeprefix("python -m "))
    apps = {"study": study.cli.app, "analysis": analysis.__main__.app, "latentsweep": analysis.command.app}
    group = typer.main.get_command(apps[module])
    with group.make_context(module, arguments[:1], resilient_parsing=True) as context:
        name, subcommand, _ = group.resolve_command(context, arguments)
        if arguments[1:] and isinstance(subcommand, typer.core.TyperGroup):  # `datasets get`
            name, subcommand, arguments = *subcommand.resolve_command(context, arguments[1:])[:2], arguments[1:]
        return subcommand.make_context(name, arguments[1:]).params


def the_one(language: str, holding: str) -> str:
    """The block that holds a text."""
    (found,) = [block for block in blocks(language) if holding in block]
    return found


def of_a_run() -> set[str]:
    """What the table of files says that a run's folder holds."""
    rows = [line.split("|")[1] for line in README.splitlines() if line.startswith("| `")]
    (first,) = [i for i, row in enumerate(rows) if "`study.yaml`" in row]
    (last,) = [i for i, row in enumerate(rows) if "`figures/`" in row]
    return {path.partition("/")[0] for row in rows[first : last + 1] for path in re.findall("`([^`]+)`", row)}


def write_own(folder: Path) -> None:
    """Writes the model of one's own that the README shows, few.py, and its preset, few.yaml."""
    (folder / "few.py").write_text(the_one("python", "# few.py").removeprefix("# few.py\n"))
    (folder / "few.yaml").write_text(the_one("yaml", "model: few.py"))


IMAGES = the_one("python", "np.savez")
"""What saves digits.npz in the current folder."""
