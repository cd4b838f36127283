"""Search spaces of the papers' hyperparameters, one file a model; the folder is the registry.

A space is a module of this folder with `DEFAULTS`, the paper's own values, and `space(trial)`, an Optuna define-by-run
function that draws every one of them. A model outside the folder may have both in its own file; where it has neither,
its space draws `lr`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, NamedTuple, Protocol

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

import models


class Trial(Protocol):
    """What a space draws from: one of Optuna's trials, or one of those below."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


Space = Callable[[Trial], dict[str, Any]]


class RateOnly:
    """The space of a model that brings none: Adam's rate, and what a preset's `space` adds."""

    DEFAULTS: ClassVar = {"lr": 1e-3}

    @staticmethod
    def space(trial: Trial) -> dict[str, Any]:
        return {"lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True)}


def _module(name: str) -> Any:
    if models.outside.is_outside(name):
        own = models.module(name)
        return own if hasattr(own, "space") else RateOnly
    return _of_the_folder(name)


@cache
def _of_the_folder(name: str) -> Any:
    known = sorted(m.name for m in pkgutil.iter_modules(__path__))
    if name not in known:
        raise KeyError(f"no search space is named {name!r}; there are: {', '.join(known)}")
    return importlib.import_module(f"searchspaces.{name}")


def space(name: str) -> Space:
    """The function that draws a configuration of that model from an Optuna trial.

    Raises:
        KeyError: no space has that name.
    """
    function: Space = _module(name).space
    if models.outside.is_outside(name):
        return lambda trial: _guarded(name, function, trial)
    return function


def _guarded(name: str, function: Space, trial: Trial) -> dict[str, Any]:
    """What a space of somebody's draws; its mistakes are lines, as ValueErrors."""
    settings: Any = models.outside.guarded(name, lambda: function(trial))
    if not isinstance(settings, Mapping):
        raise ValueError(f"{models.outside.code(name).origin}: space must return a dict, got {settings!r}")
    return dict(settings)


def beside(name: str, fixed: Mapping[str, Any]) -> Space:
    """The same, with what is pinned not drawn but taken over, and what a pinned network does not read not drawn either.

    Raises:
        KeyError: no space has that name.
    """
    draw, usual = space(name), defaults(name)
    network = {key: value for key, value in fixed.items() if key == "network"}
    unread = models.idle(name, network) - models.idle(name, {}) if network else set()
    pinned = {**{key: usual[key] for key in unread & usual.keys()}, **fixed}
    return lambda trial: {**draw(Pinned(trial, pinned)), **fixed}


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


class Branch(NamedTuple):
    """One way through a space, which its categorical choices lead to."""

    drawn: dict[str, BaseDistribution]  # what is drawn on it
    settings: dict[str, Any]  # a configuration that it leads to: numbers are the lowest of their ranges


def branches(space: Space) -> list[Branch]:
    """Every way through a space. What is drawn may depend on categorical choices, and on nothing else."""
    found: list[Branch] = []
    pending: list[tuple[int, ...]] = [()]
    while pending:
        walk = _Walk(pending.pop())
        settings = space(walk)
        found.append(Branch(walk.drawn, settings))
        for i in range(len(walk.given), len(walk.taken)):
            pending += [(*walk.taken[:i], other) for other in range(1, walk.choices[i])]
    return found


def asked_for(draw: Space) -> list[str]:
    """The names that a function asks a trial for, in the first way through it."""
    walk = _Walk(())
    draw(walk)
    return list(walk.drawn)


class _Walk:
    """A trial that takes given categorical choices, then the first ones."""

    def __init__(self, given: tuple[int, ...]):
        self.given, self.taken, self.choices = given, list[int](), list[int]()
        self.drawn: dict[str, BaseDistribution] = {}

    def suggest_float(self, name: str, low: float, high: float, **kwargs: Any) -> float:
        self.drawn[name] = FloatDistribution(low, high, **kwargs)
        return low

    def suggest_int(self, name: str, low: int, high: int, **kwargs: Any) -> int:
        self.drawn[name] = IntDistribution(low, high, **kwargs)
        return low

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.drawn[name] = CategoricalDistribution(choices)
        at = len(self.taken)
        self.taken.append(self.given[at] if at < len(self.given) else 0)
        self.choices.append(len(choices))
        return choices[self.taken[at]]


class Usual:
    """A trial that takes the defaults, or the first choice where a default is none of the choices.

    Args:
        defaults: of every number that a space draws, and of its choices.

    Attributes:
        params: what was drawn, as Optuna's trials have it.
    """

    def __init__(self, defaults: Mapping[str, Any]):
        self.params: dict[str, Any] = {}
        self._defaults = defaults

    def suggest_float(self, name: str, *_: Any, **__: Any) -> Any:
        return self.params.setdefault(name, self._defaults[name])

    def suggest_int(self, name: str, *_: Any, **__: Any) -> Any:
        return self.params.setdefault(name, self._defaults[name])

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        default = self._defaults.get(name)
        return self.params.setdefault(name, default if default in choices else choices[0])


class Within(Usual):
    """The same, with numbers that lie outside the range that they are drawn from at its nearest value."""

    def suggest_float(self, name: str, low: float, high: float, **how: Any) -> Any:
        return self.params.setdefault(name, _nearest(self._defaults[name], low, high, how.get("step")))

    def suggest_int(self, name: str, low: int, high: int, **how: Any) -> Any:
        return self.params.setdefault(name, round(_nearest(self._defaults[name], low, high, how.get("step"))))


def _nearest(value: float, low: float, high: float, step: float | None) -> float:
    near = min(max(value, low), high)
    return near if step is None else low + round((near - low) / step) * step


class Pinned:
    """A trial whose pinned hyperparameters are answered from `fixed`; only the others reach the sampler."""

    def __init__(self, trial: Trial, fixed: Mapping[str, Any]):
        self._trial, self.fixed = trial, fixed

    def suggest_float(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self.fixed[name] if name in self.fixed else self._trial.suggest_float(name, *args, **kwargs)

    def suggest_int(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self.fixed[name] if name in self.fixed else self._trial.suggest_int(name, *args, **kwargs)

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self.fixed[name] if name in self.fixed else self._trial.suggest_categorical(name, choices)


def pins(trial: Trial) -> Mapping[str, Any]:
    """What is pinned in a trial: for a space that draws from fewer choices beside certain pins."""
    return trial.fixed if isinstance(trial, Pinned) else {}
