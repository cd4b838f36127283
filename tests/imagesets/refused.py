"""What a data set says when it cannot be loaded."""

from pathlib import Path

import pytest

import imagesets


def refusal(name: str, root: Path, **options) -> str:
    """The line of the DataError, after which nothing is kept under the cache but the lock."""
    with pytest.raises(imagesets.DataError) as caught:
        imagesets.load(name, root, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert [path.name for path in (root / "cache").rglob("*") if path.suffix != ".lock"] == []
    return message
