"""config.json of an exported model: what must stand in it, and what is wrong with one that lacks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.domains import Count

FILE = "config.json"
S = TypeVar("S", bound="Said")


class Said(BaseModel):
    """Keys of config.json; others may stand beside them."""

    model_config = ConfigDict(strict=True, protected_namespaces=())


class Code(Said):
    """The file of a model of one's own."""

    file: str
    origin: str
    checksum: str


class Built(Said):
    """What a model is built from."""

    model: str
    image_shape: Annotated[list[Count], Field(min_length=3, max_length=4)]
    hyperparameters: dict[str, Any]
    code: Code | None = None


def read(kind: type[S], config: Mapping[str, Any]) -> S:
    """The keys that are needed.

    Raises:
        ValueError: one is missing or has a value that it cannot have; all are named.
    """
    try:
        return kind.model_validate(config)
    except ValidationError as error:
        problems = [_problem(found) for found in error.errors(include_url=False)]
    raise ValueError(f"{FILE}: {'; '.join(dict.fromkeys(problems))}")


def _problem(found: Any) -> str:
    key = ".".join(map(str, found["loc"])) or "it"
    if found["type"] == "missing":
        return f"{key} is missing"
    message = found["msg"].removeprefix("Value error, ")
    return f"{key}: {message[:1].lower()}{message[1:]}, got {str(found['input'])[:60]!r}"
