"""Search spaces of the papers' hyperparameters, one file a model; the folder is the registry.

A space is a module of this folder with `DEFAULTS`, the paper's own values, and `space(trial)`, an Optuna define-by-run
function that draws every one of them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import optuna

Space = Callable[[optuna.trial.BaseTrial], dict[str, Any]]


@cache
def _modules() -> dict[str, ModuleType]:
    return {m.name: importlib.import_module(f"searchspaces.{m.name}") for m in pkgutil.iter_modules(__path__)}


def _module(name: str) -> ModuleType:
    if name not in _modules():
        raise KeyError(f"no search space is named {name!r}; there are: {', '.join(sorted(_modules()))}")
    return _modules()[name]


def space(name: str) -> Space:
    """The function that draws a configuration of that model from an Optuna trial.

    Raises:
        KeyError: no space has that name.
    """
    function: Space = _module(name).space
    return function


def defaults(name: str) -> dict[str, Any]:
    """The paper's own configuration of that model, with the keys that `space(name)` returns.

    Raises:
        KeyError: no space has that name.
    """
    return dict(_module(name).DEFAULTS)


def trade_offs(name: str) -> dict[str, str]:
    """Hyperparameters that a study of the ELBO alone must pin: name -> the second objective that would free it.

    Raises:
        KeyError: no space has that name.
    """
    return dict(getattr(_module(name), "TRADE_OFFS", {}))
