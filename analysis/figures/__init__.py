"""Figures of a run, and of several that compare. The folder is the registry: a figure is a module here with

PLACE             where it stands among the others in a report
fits(results)     whether that run has the data for it
data(...)         frames or a model to numbers
draw(ax, ...)     numbers to marks; it only draws
figure(results)   the whole picture of one run
compare(several)  the same of several runs in one picture, where that says something
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pandas as pd
from matplotlib.figure import Figure

from analysis import tables
from analysis.figures import style
from analysis.figures.results import Results

FORMATS = ("png", "pdf")  # of every figure: for a screen, and for a paper

__all__ = ["Results", "apart", "draw", "draw_compared", "module", "names"]


@functools.cache
def _modules() -> dict[str, ModuleType]:
    found = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    figures = sorted((module for module in found if hasattr(module, "PLACE")), key=lambda module: module.PLACE)
    return {module.__name__.rpartition(".")[2]: module for module in figures}  # others are shared files


def names() -> list[str]:
    """The known figures, in the order of a report."""
    return list(_modules())


def module(name: str) -> ModuleType:
    """A figure's file, as a module."""
    return _modules()[name]


def draw(results: Results, suffixes: Sequence[str] = FORMATS, out: Path | None = None) -> list[Path]:
    """Draws every figure that a run has the data for.

    Args:
        results: of the run.
        suffixes: of the files of each: png, pdf, svg.
        out: the folder that they go into; the run's own, `figures`, if not given.

    Returns:
        The files, in the order of a report.

    Raises:
        RunError: no trial is complete, or where there was no search, no seed; or the folder cannot be written.
        DataError: the data set is not there.
    """
    out = out or results.run.path / "figures"
    style.check_folder(out)
    _ = results.best, results.valid  # what is not there is told before a folder is made
    fitting = [(name, module) for name, module in _modules().items() if module.fits(results)]
    return [path for name, module in fitting for path in _save(module.figure(results), out / name, suffixes)]


def _save(figure: Figure, stem: Path, suffixes: Sequence[str]) -> list[Path]:
    return [style.save(figure, stem.with_suffix(f".{suffix}")) for suffix in suffixes]


def draw_compared(several: Sequence[Results], suffixes: Sequence[str] = FORMATS, out: Path | None = None) -> list[Path]:
    """Draws what compares several runs.

    Args:
        several: at least two runs that are not `apart`.
        suffixes: of the files of each: png, pdf, svg.
        out: the folder that they go into; `figures/compared` of the first run if not given.

    Returns:
        The files, in the order of a report; a figure is left out where fewer than two runs have the data for it.
    """
    out, written = out or several[0].run.path / "figures" / "compared", []
    for name, module in _modules().items():
        fitting = [results for results in several if hasattr(module, "compare") and module.fits(results)]
        if len(fitting) > 1:
            written += _save(module.compare(fitting), out / name, suffixes)
    return written


def apart(several: Sequence[Results]) -> list[str]:
    """What makes the numbers of these runs ones that do not compare, such as `dataset`; empty if they do."""
    frame = pd.concat([results.about for results in several], ignore_index=True)
    objective = ["objective"] if len({results.measure for results in several}) > 1 else []
    return [*tables.differing(frame), *objective]
