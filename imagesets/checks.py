"""Options of data sets: a wrong one is refused in one line that says what was given and what is needed."""

from typing import Any

from imagesets.base import DataError, Info


def whole(info: Info, option: str, value: Any, low: int, high: int) -> None:
    """Raises DataError where the value is no whole number from `low` to `high`."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise DataError(f"{info.name}: {option} is {value!r}, where a whole number from {low} to {high} is needed")


def switch(info: Info, option: str, value: Any) -> None:
    """Raises DataError where the value is neither True nor False."""
    if not isinstance(value, bool):
        raise DataError(f"{info.name}: {option} is {value!r}, where True or False is needed")
