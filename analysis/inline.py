"""What a page has in it instead of a link: pictures, and files to be saved."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import NamedTuple

from analysis import figures

KINDS = {"png": "image/png", "gif": "image/gif"}


class Picture(NamedTuple):
    """A figure, as it stands in the page."""

    title: str
    uri: str


class File(NamedTuple):
    """A text that can be saved from the page."""

    name: str
    text: str

    @property
    def uri(self) -> str:
        return _uri("text/plain;charset=utf-8", self.text.encode())


def suffixes() -> list[str]:
    """Of the pictures that a page has in it."""
    return [suffix for suffix in figures.FORMATS if suffix in KINDS]


def picture(path: Path) -> Picture:
    """A file that was drawn, with the words of its figure."""
    title = (figures.module(path.stem).__doc__ or path.stem).strip().splitlines()[0]
    return Picture(title, _uri(KINDS[path.suffix.removeprefix(".")], path.read_bytes()))


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
