"""The URL of an Optuna storage, as a specification names it: without its password.

A password is never part of a specification, and so never written or printed: it is split off the URL when the
specification is made, and kept by this process only. A later process finds it in the environment variable
LATENTSWEEP_STORAGE, which holds the whole URL, or where the database's own client looks: PGPASSWORD or ~/.pgpass.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

JOURNAL = "journal"  # in the place of a URL: a journal in the run folder
ENVIRONMENT = "LATENTSWEEP_STORAGE"
SQLITE = "sqlite:///studies.db"
EXAMPLES = f"{SQLITE} or postgresql://user@host/database"
SECRETS = ("password", "passwd", "pwd", "sslpassword")  # in the query of a URL

_with_password: dict[str, str] = {}  # URLs that this process was given, by what they are without


def checked(given: str) -> str:
    """A storage as a specification names it: without its password, and the same wherever it is read.

    Raises:
        ValueError: it is neither `journal` nor a URL, or a URL of SQLite that names no file.
    """
    if given == JOURNAL:
        return given
    parsed = _parsed(given)
    if parsed is None:
        raise ValueError(f"takes `journal`, or an Optuna URL such as {EXAMPLES}, got {given!r}")
    if parsed.get_backend_name() != "sqlite":
        return without_password(given)
    if not parsed.database or ":memory:" in parsed.database or parsed.database.startswith("file:"):
        raise ValueError(f"names no file, and what is not in a file is lost at the end, got {given!r}; {SQLITE} does")
    path = os.path.abspath(os.path.expanduser(parsed.database))  # relative to the current folder
    return parsed.set(database=path).render_as_string(hide_password=False)


def file_of(url: str) -> Path | None:
    """The file that a URL of SQLite names; None for any other."""
    parsed = _parsed(url)
    sqlite = parsed is not None and parsed.get_backend_name() == "sqlite" and parsed.database
    return Path(sqlite) if sqlite else None


def url_of(path: Path) -> str:
    """The URL of an SQLite file, whatever its path looks like."""
    import sqlalchemy

    return sqlalchemy.engine.URL.create("sqlite", database=str(path)).render_as_string()


def _parsed(url: str) -> URL | None:
    import sqlalchemy

    try:
        return sqlalchemy.engine.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):  # the second for a port that is no number
        return None


def without_password(url: str) -> str:
    """The URL without its password, which this process keeps. What is no URL stays as it is."""
    import sqlalchemy

    parsed = _parsed(url)
    if parsed is None:
        return url
    if parsed.password is None and not set(SECRETS) & set(parsed.query):
        return url
    public = sqlalchemy.engine.URL.create(
        parsed.drivername,
        parsed.username,
        None,
        parsed.host,
        parsed.port,
        parsed.database,
        {key: value for key, value in parsed.query.items() if key not in SECRETS},
    ).render_as_string(hide_password=False)
    _with_password[public] = url
    return public


def whole_url(public: str) -> str:
    """The URL with its password, if this process was given one or the environment has it."""
    if ENVIRONMENT in os.environ:
        without_password(os.environ[ENVIRONMENT])  # which keeps it
    return _with_password.get(public, public)


def unfitting(public: str) -> str:
    """What the environment names, without its password, where that is another storage; empty where it is this one, or
    none.
    """
    named = os.environ.get(ENVIRONMENT, "")
    without = without_password(named) if named else ""
    return "" if without == public else without
