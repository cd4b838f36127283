"""Figures of a run, and of several that compare. The folder is the registry: a figure is a module here with

PLACE              where it stands among the others in a report: curves from 10 on, what the search found from 20 on,
                   images from 30 on, codes from 40 on, what one paper shows from 50 on
fits(results)      whether that run has the data for it
data(...)          frames or a model to numbers
draw(ax, ...)      numbers to marks; it only draws
figure(results)    the whole picture of one run; or animation(results), one that moves
compare(several)   the same of several runs in one picture, where that says something
compares(results)  whether a run takes part in that, if this is not what `fits` says
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis import tables
from analysis.figures import style
from analysis.figures.results import Results, beside
from imagesets import DataError
from study.record.folder import RunError

FORMATS = ("png", "pdf", "gif")  # for a screen, for a paper, and of what moves the only one

__all__ = ["Results", "apart", "beside", "draw", "draw_compared", "module", "names", "without_model"]


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
    """Draws every figure that a run has the data for; where no trial is complete yet, those that need no model.

    Args:
        results: of the run.
        suffixes: of the files of each: png, pdf, svg; with gif, what moves is drawn too.
        out: the folder that they go into; the run's own, `figures`, if not given.

    Returns:
        The files, in the order of a report.

    Raises:
        RunError: there is nothing to draw yet; or the folder cannot be written.
        DataError: the data set is not there.
    """
    out = out or results.run.path / "figures"
    style.check_folder(out)
    if results.lacking is None:
        _ = results.valid  # what is not there is told before a folder is made
        fitting = [(name, module) for name, module in _modules().items() if module.fits(results)]
        return [path for name, module in fitting for path in _draw(module, results, out / name, suffixes)]
    if found := without_model(results, suffixes, out):
        return found
    raise results.lacking


def without_model(results: Results, suffixes: Sequence[str], out: Path) -> list[Path]:
    """Draws those figures of a run that need neither its best checkpoint nor the data set. Arguments as for `draw`.

    Raises:
        RunError: a file cannot be written.
    """
    found = []
    for name, module in _modules().items():
        figure = None
        with suppress(RunError, DataError):  # of what it is made from; what moves is made from a model
            if hasattr(module, "figure") and module.fits(results):
                figure = module.figure(results)
        found += _save(lambda made: made, figure, out / name, suffixes)
    return found


def _draw(module: ModuleType, results: Results, stem: Path, suffixes: Sequence[str]) -> list[Path]:
    if not hasattr(module, "animation"):
        return _save(module.figure, results, stem, suffixes)
    return [style.save_animation(module.animation(results), stem.with_suffix(".gif"))] if "gif" in suffixes else []


def _save(drawing: Callable[[Any], Figure], of: Any, stem: Path, suffixes: Sequence[str]) -> list[Path]:
    """Makes a picture once for all its files, if it has any."""
    still = [suffix for suffix in suffixes if suffix != "gif"]
    figure = drawing(of) if still else None
    return [style.save(figure, stem.with_suffix(f".{suffix}")) for suffix in still if figure is not None]


def draw_compared(several: Sequence[Results], suffixes: Sequence[str] = FORMATS, out: Path | None = None) -> list[Path]:
    """Draws what compares several runs.

    Args:
        several: at least two runs that are not `apart`, from `beside`.
        suffixes: of the files of each: png, pdf, svg.
        out: the folder that they go into; `figures/compared` of the first run if not given.

    Returns:
        The files, in the order of a report; a figure is left out where fewer than two runs have the data for it.
    """
    out, written = out or several[0].run.path / "figures" / "compared", []
    for name, module in _modules().items():
        takes_part = getattr(module, "compares", module.fits)
        fitting = [results for results in several if hasattr(module, "compare") and takes_part(results)]
        if len(fitting) > 1:
            written += _save(module.compare, fitting, out / name, suffixes)
    return written


def apart(several: Sequence[Results]) -> list[str]:
    """What makes the numbers of these runs ones that do not compare, such as `dataset`; empty if they do."""
    frame = pd.concat([results.about for results in several], ignore_index=True)
    objective = ["objective"] if len({results.measure for results in several}) > 1 else []
    return [*tables.differing(frame), *objective]
