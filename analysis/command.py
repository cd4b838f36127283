"""`latentsweep`: every command of `python -m study`, and those of `python -m analysis` under `analysis`."""

from __future__ import annotations

import copy

from analysis.__main__ import app as analysis_app
from study.cli import app as study_app
from study.cli import main

app = copy.copy(study_app)
app.registered_groups = list(study_app.registered_groups)  # study knows nothing of analysis
app.add_typer(analysis_app, name="analysis")


def run() -> None:
    """The installed command; its exit codes are those of study.cli."""
    main(app)
