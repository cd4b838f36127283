"""What a study is, as the note of optuna-dashboard: Markdown."""

from __future__ import annotations

import re

from study.output import without_places
from study.record.folder import OpenRun
from study.record.trials import is_one_training
from study.record.words import planned

SPECIAL = re.compile(r"([!-/:-@\[-`{-~])")  # all of which CommonMark takes with a backslash for itself


def note(opened: OpenRun, kind: str | None) -> str:
    """What it does, what kind of number its ELBO is, and the code that made it.

    Args:
        opened: the run.
        kind: of its ELBO, where that is known yet.
    """
    run, spec, _ = opened
    made_with = run.made_with()
    commit = made_with.get("commit") or "not known"
    changed = ", with uncommitted changes" if made_with.get("changed") else ""
    versions = ", ".join(f"{name} {version}" for name, version in made_with.get("packages", {}).items() if version)
    title, *lines = (line.strip() for line in planned(spec, alone=is_one_training(opened)))
    if kind:
        lines.append(f"ELBO: {kind}" + ("" if kind == "bound" else ", no bound on the log-likelihood"))
    lines += [f"commit {commit}{changed}", *([versions] if versions else [])]
    return "\n".join([f"### {_plain(title)}", "", *(f"- {_plain(line)}" for line in lines)])


def _plain(text: str) -> str:
    return SPECIAL.sub(r"\\\1", without_places(text))
