"""A model of one's own in a specification: its file's text goes wherever the specification goes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from models import outside


class Code(BaseModel):
    """The file of a model that is not of the project; it is run when the specification is read."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    origin: str  # its path, or the module's dotted name
    checksum: str
    text: str

    @property
    def name(self) -> str:
        """Of the file, without its folder; of a module all of it."""
        return Path(self.origin).name

    @property
    def code(self) -> outside.Code:
        return outside.Code(self.origin, self.text)

    @model_validator(mode="after")
    def _sound(self) -> Code:
        if self.code.checksum != self.checksum:
            raise ValueError(f"the text is not the one that {self.origin} had: its checksum is another")
        outside.adopt(self.code)
        return self


def with_code(raw: Any) -> Any:
    """A specification as read, in which a model's path has given way to its key, and to its code beside it.

    One whose file cannot be used stays as it is: the checks of `model` and `code` say why.
    """
    if not isinstance(raw, Mapping):
        return raw
    if raw.get("code") is not None:
        with suppress(ValidationError):
            Code.model_validate(raw["code"])
        return raw
    model = raw.get("model")
    if not isinstance(model, str) or not outside.is_outside(model):
        return raw
    try:
        code = outside.code(model)
    except ValueError:
        return raw
    return {**raw, "model": code.key, "code": {"origin": code.origin, "checksum": code.checksum, "text": code.text}}
