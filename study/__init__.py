"""The platform: a specification becomes a search on Ray Tune, an Optuna study and a run folder.

    spec = study.load("quickstart", ["trials=4"])
    folder = study.run(spec)

Ray and Optuna are imported when a study is run, not before.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.spec import SpecError, StudySpec, load

__all__ = ["SpecError", "StudySpec", "load", "run"]


def __getattr__(name: str) -> Any:
    if name in ("SpecError", "StudySpec", "load"):
        from study import spec

        return getattr(spec, name)
    raise AttributeError(f"module 'study' has no attribute {name!r}")


def run(
    spec: StudySpec,
    root: str | Path = "runs",
    *,
    data: str | None = None,
    address: str | None = None,
    wait: bool = False,
) -> Path:
    """Searches a study from the start.

    Args:
        spec: what to do; `study.load` reads one from a preset.
        root: where run folders lie.
        data: root of the data sets; None is the default one.
        address: of a Ray cluster; None is the one that RAY_ADDRESS names, or else a Ray that is started here.
        wait: for a machine of the cluster that has room for a trial.

    Returns:
        The run folder.

    Raises:
        SpecError, DataError, RunError: what is asked for cannot be had; nothing was written then.
        MachineError: Ray could not be started or joined; nor then.
    """
    from study.record.folder import Run
    from study.tune import runner

    made = Run(Path(root) / spec.name)
    runner.run(spec, made, data=data, address=address, wait=wait)
    return made.path
