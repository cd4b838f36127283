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
import itertools
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pandas as pd
from matplotlib.figure import Figure

from analysis import tables
from analysis.figures import style
from analysis.figures.results import UNREADABLE, Results, beside

FORMATS = ("png", "pdf", "gif")  # for a screen, for a paper, and of what moves the only one
COMPARED = "compared"

__all__ = ["Results", "apart", "beside", "draw", "draw_compared", "free_folder", "module", "names"]


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
        results: of the run; its `lacking` says afterwards what could not be drawn.
        suffixes: of the files of each: png, pdf, svg; with gif, what moves is drawn too.
        out: the folder that they go into; the run's own, `figures`, if not given.

    Returns:
        The files, in the order of a report; none where there is nothing to draw yet, or no study.

    Raises:
        RunError: the folder cannot be written.
    """
    out = out or results.run.path / "figures"
    style.check_folder(out)
    try:
        _ = results.opened
    except UNREADABLE:
        return []
    return [path for name, module in _modules().items() for path in _draw(module, results, out / name, suffixes)]


def _draw(module: ModuleType, results: Results, stem: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files of one figure; none where the run has not what it is made from, or that cannot be read."""
    moves = hasattr(module, "animation")
    still = [suffix for suffix in suffixes if suffix != "gif"]
    try:
        if not (("gif" in suffixes) if moves else still) or not module.fits(results):
            return []
        drawn = module.animation(results) if moves else module.figure(results)
    except UNREADABLE as error:
        if not results.lacks(error):
            raise
        return []
    return [style.save_animation(drawn, stem.with_suffix(".gif"))] if moves else _save(drawn, stem, still)


def _save(figure: Figure, stem: Path, suffixes: Sequence[str]) -> list[Path]:
    return [style.save(figure, stem.with_suffix(f".{suffix}")) for suffix in suffixes]


def draw_compared(several: Sequence[Results], suffixes: Sequence[str] = FORMATS, out: Path | None = None) -> list[Path]:
    """Draws what compares several runs.

    Args:
        several: at least two runs that are not `apart`, from `beside`.
        suffixes: of the files of each: png, pdf, svg.
        out: the folder that they go into; `figures/compared` of the first run if not given.

    Returns:
        The files, in the order of a report; a figure is left out where fewer than two runs have the data for it.
    """
    out, written = out or several[0].run.path / "figures" / COMPARED, []
    still = [suffix for suffix in suffixes if suffix != "gif"]
    for name, module in _modules().items():
        if hasattr(module, "compare") and still and (figure := _compared(module, several)) is not None:
            written += _save(figure, out / name, still)
    return written


def _compared(module: ModuleType, several: Sequence[Results]) -> Figure | None:
    """One figure of those runs that have the data for it, and whose data can be read; None of fewer than two."""
    takes_part = getattr(module, "compares", module.fits)
    left = list(several)
    while len(left) > 1:
        try:
            fitting = [results for results in left if takes_part(results)]
            return module.compare(fitting) if len(fitting) > 1 else None
        except UNREADABLE as error:
            readable = [results for results in left if not results.lacks(error)]
            if len(readable) == len(left):
                raise
            left = readable
    return None


def free_folder(several: Sequence[Results], name: str = COMPARED) -> str:
    """What the folder of the comparisons is called beside those of the runs, none of which has that name."""
    taken = {results.name.partition("/")[0].casefold() for results in several}  # alike on some disks
    names = (name if n == 1 else f"{name}-{n}" for n in itertools.count(1))
    return next(each for each in names if each not in taken)


def apart(several: Sequence[Results]) -> list[str]:
    """What makes the numbers of these runs ones that do not compare, such as `dataset`; empty if they do."""
    frame = pd.concat([results.about for results in several], ignore_index=True)
    objective = ["objective"] if len({results.measure for results in several}) > 1 else []
    return [*tables.differing(frame), *objective]
