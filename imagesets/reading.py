"""What libraries find wrong with a file, in one line."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from imagesets import files
from imagesets.base import Info


@contextlib.contextmanager
def whole(info: Info, path: Path, kind: str) -> Iterator[None]:
    """Raises DataError where reading the file, of that kind, fails: a damaged file can raise nearly anything."""
    try:
        yield
    except OSError as error:
        finding = f"cannot be read ({reason(error)})" if error.strerror else f"is no whole {kind} ({reason(error)})"
        raise files.damaged(info, path, finding) from error
    except Exception as error:
        raise files.damaged(info, path, f"is no whole {kind} ({reason(error)})") from error


def reason(error: Exception) -> str:
    """The message of an exception, its first line."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said.strip().split("\n")[0] or type(error).__name__
