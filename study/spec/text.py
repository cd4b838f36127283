"""A specification as YAML."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from study.spec.specification import StudySpec


DIGITS = 100  # of a whole number
_INTEGER = "tag:yaml.org,2002:int"


def program(package: str = "study") -> str:
    """How commands that are printed begin: `latentsweep` where this process was started so, else `python -m study`."""
    if Path(sys.argv[0]).name == "latentsweep":
        return "latentsweep" if package == "study" else f"latentsweep {package}"
    return f"python -m {package}"


_AT_WORK = ("data", "address", "wait")
TAKES = {"resume": _AT_WORK, "confirm": _AT_WORK, "datasets get": ("data",)}
"""Which options of the command line a command that is printed goes on with."""

_noted: dict[str, str] = {}


def note(option: str, value: str | None) -> None:
    """Notes what this process's command line gives for an option: empty for one without a value, None for nothing."""
    _noted.pop(option, None)
    if value is not None:
        _noted[option] = value


def command(name: str, *arguments: str, package: str = "study") -> str:
    """A command as it is printed for people: it works as it stands, with the options that this process was given.

    Args:
        name: of the command.
        arguments: what follows, quoted for a shell.
        package: whose command it is.
    """
    given = {option: _noted[option] for option in TAKES.get(name, ()) if option in _noted}
    options = [f"--{option} {shlex.quote(value)}" if value else f"--{option}" for option, value in given.items()]
    return " ".join([program(package), name, *arguments, *options])


def counted(n: float, noun: str, form: str = "") -> str:
    """A number and what it counts: "1 trial", "2 trials"; its form is Python's, such as "," for 1,000."""
    return f"{n:{form}} {noun}{'' if n == 1 else 's'}"


def dump(spec: StudySpec) -> str:
    """The specification as YAML that `load` reads again, with every default written out."""
    return dump_values(spec.model_dump(mode="json"))


def dump_values(values: Mapping[str, Any]) -> str:
    """The same of what a specification would be made from."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """Takes 1e-3 for a number, as YAML 1.2 does; in YAML 1.1 it is text. A key stands once, and nothing is repeated by
    reference, which can grow without bound; neither is a number of more digits than Python prints.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not taken", self.peek_event().start_mark)
        return super().compose_node(parent, index)

    def construct_scalar(self, node: Any) -> Any:
        if node.tag == _INTEGER and len(node.value) > DIGITS:
            raise yaml.constructor.ConstructorError(None, None, f"a number of over {DIGITS} digits", node.start_mark)
        return super().construct_scalar(node)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[Any] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _as_lines(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    """Text of several lines, a file for instance, as a block that people can read."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _as_lines)

for _yaml in (_Loader, _Dumper):
    _yaml.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), "-+0123456789")


def parse(text: str) -> Any:
    """What YAML says.

    Raises:
        YAMLError, ValueError: it is not YAML; the second for dates and numbers that cannot be, and what is too deep.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (AttributeError, TypeError, LookupError, ArithmeticError):  # PyYAML's own, of what a tag does not go with
        raise ValueError("a value does not go with its tag") from None
