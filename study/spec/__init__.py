"""The specification of a study: what a preset says, its checks, and what follows from it without Ray.

Names are imported when they are asked for: what trains a model needs no Optuna.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.spec.preprocessing import Preprocessing
    from study.spec.preset import presets
    from study.spec.problems import SpecError
    from study.spec.reading import check, load, options
    from study.spec.specification import Asha, Budget, Confirm, Resources, StudySpec
    from study.spec.text import dump, parse

__all__ = [
    "Asha",
    "Budget",
    "Confirm",
    "Preprocessing",
    "Resources",
    "SpecError",
    "StudySpec",
    "check",
    "dump",
    "load",
    "options",
    "parse",
    "presets",
]

_FILES = {
    "preprocessing": ("Preprocessing",),
    "preset": ("presets",),
    "problems": ("SpecError",),
    "reading": ("check", "load", "options"),
    "specification": ("Asha", "Budget", "Confirm", "Resources", "StudySpec"),
    "text": ("dump", "parse"),
}


def __getattr__(name: str) -> Any:
    for file, names in _FILES.items():
        if name in names:
            return getattr(importlib.import_module(f"study.spec.{file}"), name)
    raise AttributeError(f"module 'study.spec' has no attribute {name!r}")
