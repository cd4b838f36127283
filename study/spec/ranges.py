"""Ranges that a preset gives: they narrow or replace what a model's space draws, and draw what it leaves alone.

`space: {lr: {high: 3e-3}, hidden: {choices: [200, 400]}, weight_decay: {low: 1e-6, high: 1e-3, log: true}}`
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import BaseModel, BeforeValidator, ConfigDict, model_serializer, model_validator

import models
import searchspaces
from study.spec.settings import SETTINGS, check_settings, is_setting


def _number(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) == math.inf:
        raise ValueError(f"must be a number, got {value!r}")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError(f"must be a number of 64 bits, got {value!r}")
    return value


FINEST = 2**53  # steps of a range: the whole numbers that a float can count

Number = Annotated[int | float | None, BeforeValidator(_number)]


class Range(BaseModel):
    """A range of one hyperparameter: its ends, or its choices. What is not said is as the model's space has it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    low: Number = None
    high: Number = None
    log: bool | None = None
    step: Number = None
    choices: list[Any] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Range:
        numbers = {key: getattr(self, key) for key in ("low", "high", "log", "step") if getattr(self, key) is not None}
        if self.choices is None and not numbers:
            raise ValueError("takes low and high, with log or step, or choices; got nothing")
        if self.choices is not None:
            self._check_choices(self.choices, numbers)
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low must not exceed high, got {self.low:g} and {self.high:g}")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"step must be above 0, got {self.step:g}")
        if self.log and self.step is not None:
            raise ValueError("takes log or step, not both")
        return self

    @staticmethod
    def _check_choices(choices: Sequence[Any], numbers: Mapping[str, Any]) -> None:
        if numbers:
            raise ValueError(f"takes choices, or {', '.join(numbers)}, not both")
        if not choices:
            raise ValueError("choices must name at least one value, got []")
        if strange := [choice for choice in choices if not isinstance(choice, str | int | float | bool | None)]:
            raise ValueError(f"choices are numbers, texts, true, false or null, got {strange[0]!r}")
        if len({repr(choice) for choice in choices}) < len(choices):
            raise ValueError(f"choices must be different, got {choices}")

    @model_serializer
    def _given(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if value is not None}

    @property
    def named(self) -> dict[str, list[Any]]:
        """The values that it names, by where they stand in it."""
        if self.choices is not None:
            return {"choices": self.choices}
        return {key: [value] for key, value in (("low", self.low), ("high", self.high)) if value is not None}

    def on(self, own: BaseDistribution | None, whole: bool) -> BaseDistribution:
        """What is drawn from.

        Args:
            own: what the model's space draws from; None where it does not draw this.
            whole: whether only whole numbers are in the domain.

        Raises:
            ValueError: an end is missing, the ends do not fit what `own` says besides, or whole numbers are needed.
        """
        if self.choices is not None:
            return CategoricalDistribution(self.choices)
        low, high, log, step = self.low, self.high, self.log, self.step
        if isinstance(own, FloatDistribution | IntDistribution):
            low, high = own.low if low is None else low, own.high if high is None else high
            log = own.log and step is None if log is None else log
            step = own.step if step is None and not log else step
            whole = isinstance(own, IntDistribution)
        if low is None or high is None:
            raise ValueError(f"needs low and high, or choices: {_of(own)}")
        if low > high:
            raise ValueError(f"low must not exceed high, and {_of(own)}; give both ends")
        if log and low <= 0:
            raise ValueError(f"low must be above 0 where log is true, got {low:g}; {_of(own)}")
        if step is not None:
            if low < high < low + step:
                raise ValueError(f"step must fit between low and high, got {step:g}, {low:g} and {high:g}")
            if (high - low) / step > FINEST:
                raise ValueError(f"step must make at most {FINEST} values from {low:g} to {high:g}, got {step:g}")
            high = low + math.floor((high - low) / step + 1e-9) * step  # the last one that can be drawn
        if not whole:
            return FloatDistribution(low, high, log=bool(log), step=None if log else step)
        for key, value in (("low", low), ("high", high), ("step", 1 if step is None else step)):
            if value != int(value):
                raise ValueError(f"{key} must be a whole number, got {value:g}")
        return IntDistribution(int(low), int(high), log=bool(log), step=1 if log or step is None else int(step))


def text(distribution: BaseDistribution) -> str:
    """A range in words: "0.0001 to 0.01 (log)", "one of ['mlp', 'conv']"."""
    if isinstance(distribution, CategoricalDistribution):
        return f"one of {list(distribution.choices)}"
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    by = distribution.step if isinstance(distribution, FloatDistribution) or distribution.step != 1 else None
    how = " (log)" if distribution.log else "" if by is None else f" by {by:g}"
    return f"{distribution.low:g} to {distribution.high:g}{how}"


def _of(own: BaseDistribution | None) -> str:
    return "the model's space does not draw it" if own is None else f"the model's space draws {text(own)}"


def drawing(model: str, fixed: Mapping[str, Any], ranges: Mapping[str, Range]) -> searchspaces.Space:
    """The function that draws a configuration: the model's space in the ranges given, beside what is pinned."""
    draw = searchspaces.beside(model, fixed)
    if not ranges:
        return draw
    own = own_ranges(model)

    def space(trial: searchspaces.Trial) -> dict[str, Any]:
        ranged = _Ranged(model, trial, ranges)
        return {**draw(ranged), **{name: ranged.suggest(name, None) for name in ranges if name not in own}}

    return space


def usual_trial(model: str, ranges: Mapping[str, Range], within: bool = False) -> searchspaces.Usual:
    """A trial that takes the paper's values, also of what the model's space does not draw: there the model's own.

    Args:
        model: its name.
        ranges: of the study.
        within: take the nearest value of a range that a number is outside of.
    """
    paper = searchspaces.defaults(model)
    known = {**models.hyperparameters(model), **SETTINGS, **paper}
    values = {**paper, **{name: known.get(name, known["lr"]) for name in ranges}}
    return searchspaces.Within(values) if within else searchspaces.Usual(values)


def own_ranges(model: str) -> dict[str, BaseDistribution]:
    """What the model's space draws in some trials at least, nothing being pinned."""
    ways = searchspaces.branches(searchspaces.space(model))
    return {name: drawn for way in ways for name, drawn in way.drawn.items()}


def is_whole(model: str, name: str, given: Range) -> bool:
    """Whether a hyperparameter's domain has whole numbers only, as far as the ends of a range can tell."""
    ends = [end for end in (given.low, given.high) if end is not None]
    return all(float(end).is_integer() and bool(outside(model, name, end + 0.5)) for end in ends)


def outside(model: str, name: str, value: Any) -> list[str]:
    """Why a value is outside a hyperparameter's domain; nothing where it is in it."""
    wrong = check_settings({name: value}) if is_setting(name) else models.check(model, {name: value})
    return [message for _, message in wrong]


class _Ranged:
    """A trial that draws from the ranges that are given."""

    def __init__(self, model: str, trial: searchspaces.Trial, ranges: Mapping[str, Range]):
        self._model, self._trial, self._ranges = model, trial, ranges

    def suggest(self, name: str, own: BaseDistribution | None) -> Any:
        if name in self._ranges:
            given = self._ranges[name]
            own = given.on(own, is_whole(self._model, name, given))
        if isinstance(own, CategoricalDistribution):
            return self._trial.suggest_categorical(name, own.choices)
        if isinstance(own, IntDistribution):
            return self._trial.suggest_int(name, own.low, own.high, step=own.step, log=own.log)
        assert isinstance(own, FloatDistribution)
        return self._trial.suggest_float(name, own.low, own.high, step=own.step, log=own.log)

    def suggest_float(self, name: str, low: float, high: float, **how: Any) -> Any:
        return self.suggest(name, FloatDistribution(low, high, **how))

    def suggest_int(self, name: str, low: int, high: int, **how: Any) -> Any:
        return self.suggest(name, IntDistribution(low, high, **how))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self.suggest(name, CategoricalDistribution(choices))
