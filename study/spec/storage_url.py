"""The URL of an Optuna storage, as a specification names it: without its password.

A password is never part of a specification, and so never written or printed: it is split off the URL when the
specification is made, and kept by this process only. A later process finds it in the environment variable
LATENTSWEEP_STORAGE, which holds the whole URL, or where the database's own client looks: PGPASSWORD or ~/.pgpass.
"""

from __future__ import annotations

import os

JOURNAL = "journal"  # in the place of a URL: a journal in the run folder
ENVIRONMENT = "LATENTSWEEP_STORAGE"
SECRETS = ("password", "passwd", "pwd", "sslpassword")  # in the query of a URL

_with_password: dict[str, str] = {}  # URLs that this process was given, by what they are without


def without_password(url: str) -> str:
    """The URL without its password, which this process keeps. What is no URL stays as it is."""
    import sqlalchemy

    try:
        parsed = sqlalchemy.engine.make_url(url)
    except sqlalchemy.exc.ArgumentError:
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
