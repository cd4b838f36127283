"""The files of this folder without torch, for what is only asked of a model: its hyperparameters, and what its parts
say of themselves. To import torch takes a hundred times as long.

Each file is run as it stands, apart from the module of its name that `import` finds, with stand-ins for what it takes
from torch: as bases of classes, in annotations and as decorators they do. Nothing can be built from an outline. Where a
file asks more of torch when it is run, there are no outlines, and the models themselves are asked.
"""

from __future__ import annotations

import builtins
import importlib
from collections.abc import Iterable
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from models.parts import Part

P = TypeVar("P", bound="Part")

FOLDER = Path(__file__).parent
ABSENT = ("torch", "safetensors")


def names() -> list[str]:
    """The files of the folder, by their modules' names."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


@cache
def files() -> dict[str, ModuleType]:
    """The outline of each file; where one of them has none, the modules themselves."""
    outlines = _Package()
    try:
        return {name: outlines.file(name) for name in names()}
    except Exception:  # a file may do anything with what it takes from torch
        return imported()


def imported() -> dict[str, ModuleType]:
    """Every file of the folder, as the module that it is."""
    return {name: importlib.import_module(f"models.{name}") for name in names()}


def parts_among(modules: Iterable[ModuleType], kind: type[P]) -> dict[str, type[P]]:
    """The parts of a kind that have a name, by their names."""
    return {
        value.name: value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, kind) and value.__module__ == module.__name__ and value.name
    }


class _StandIn:
    """In the place of anything of torch: of a module, a class, a function or a decorator."""

    def __getattr__(self, name: str) -> _StandIn:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: Any, **__: Any) -> _StandIn:
        return self

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return ()

    def __getitem__(self, _: Any) -> _StandIn:
        return self

    def __or__(self, _: Any) -> _StandIn:
        return self

    __ror__ = __or__


class _Package:
    """In the place of the package `models`, as the outlines see it."""

    def __init__(self) -> None:
        self._files: dict[str, ModuleType] = {}
        self._names = names()

    def __getattr__(self, name: str) -> Any:
        return self.file(name) if name in self._names else getattr(importlib.import_module("models"), name)

    def parts_of(self, kind: type[P]) -> dict[str, type[P]]:
        return parts_among([self.file(name) for name in self._names], kind)

    def file(self, name: str) -> ModuleType:
        if name not in self._files:
            module = self._files[name] = ModuleType(f"models.{name}")
            module.__file__ = str(FOLDER / f"{name}.py")
            code: Any = SourceFileLoader(module.__name__, module.__file__).get_code(module.__name__)
            module.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._import}
            exec(code, module.__dict__)
        return self._files[name]

    def _import(self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        package, _, file = name.partition(".")
        if package in ABSENT:
            return _StandIn()
        if package != "models" or level:
            return __import__(name, globals, locals, fromlist, level)
        return self.file(file) if file and fromlist else self
