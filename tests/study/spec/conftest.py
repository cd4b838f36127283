"""What the tests of the specification share."""

import pytest


@pytest.fixture
def write(tmp_path):
    """Writes a file of that text."""

    def make(text: str | bytes, name: str = "mine.yaml"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return make
