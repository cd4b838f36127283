"""config.json of an exported model: what must stand in it, and what is wrong with one that lacks it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.domains import Count

FILE = "config.json"
NAMES = "hyperparameters"
"""In the weights' own metadata, the names of the hyperparameters that config.json must have, as JSON."""

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


def check_names(metadata: Mapping[str, str] | None, hyperparameters: Mapping[str, Any]) -> None:
    """Raises ValueError where a hyperparameter is gone; one that came to the project after the export is not missed.

    Args:
        metadata: of the weights; those of earlier releases name nothing.
        hyperparameters: of config.json.
    """
    names = json.loads((metadata or {}).get(NAMES, "[]"))
    if gone := [name for name in names if name not in hyperparameters]:
        raise ValueError(f"{FILE}: hyperparameters: {', '.join(gone)} {'is' if len(gone) == 1 else 'are'} missing")


def _problem(found: Any) -> str:
    key = ".".join(map(str, found["loc"])) or "it"
    if found["type"] == "missing":
        return f"{key} is missing"
    message = found["msg"].removeprefix("Value error, ")
    return f"{key}: {message[:1].lower()}{message[1:]}, got {str(found['input'])[:60]!r}"
