"""Images in. The folder is the registry: a data set is a module here with an `INFO` and a `load(root) -> Splits`.

A data set with options takes them as keyword arguments of `load`, and of an `info(**options)` that checks them. One
without a default must be given; one that is annotated as a `Path` is given as text too, relative to the current folder.

Importing this package, and asking for names or infos, loads no data and no heavy library: loaders import those inside.
"""

import difflib
import importlib
import inspect
import os
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from imagesets import files
from imagesets.base import DataError, Images, Info, SourceError, Split, Splits, data_root
from imagesets.cache import size
from imagesets.packed import PackedImages

__all__ = [
    "NEEDED",
    "DataError",
    "Images",
    "Info",
    "PackedImages",
    "SourceError",
    "Split",
    "Splits",
    "about",
    "checksum",
    "data_root",
    "get",
    "info",
    "load",
    "located",
    "missing",
    "names",
    "options",
    "paths",
    "size",
]

NEEDED = inspect.Parameter.empty
"""In the place of a default: the option must be given."""


def load(name: str, root: str | Path | None = None, **options: Any) -> Splits:
    """The splits of a data set.

    Args:
        name: one of `names()`.
        root: the data folder; see `data_root` for what None means.
        **options: those of the data set that depart from its defaults.

    Raises:
        DataError: the name or an option is not known, or the files are missing or damaged.
    """
    info(name, **options)
    splits: Splits = _module(name).load(data_root(root), **_arguments(name, options))
    return splits


def info(name: str, **options: Any) -> Info:
    """Sizes and origin of a data set, without loading it.

    Raises:
        DataError: the name is not known, or an option is wrong or missing; SourceError where the option is right, but
            not what it names.
    """
    module = _module(name)
    known = _options(module)
    for key in options:
        if key not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise DataError(f"{name} has no option {key!r}; {takes}{_did_you_mean(key, list(known))}")
    if lacking := [key for key, default in known.items() if default is NEEDED and key not in options]:
        raise DataError(f"{name} needs the option {lacking[0]}: {module.INFO.files}")
    found: Info = module.info(**_arguments(name, options)) if hasattr(module, "info") else module.INFO
    return found


def about(name: str) -> Info:
    """As `info` at the defaults; of a data set that needs options, what can be said without: its sizes are empty."""
    module = _module(name)
    found: Info = module.INFO if NEEDED in _options(module).values() else info(name)
    return found


def options(name: str) -> dict[str, Any]:
    """The options of a data set and their defaults, or NEEDED. Raises DataError for an unknown name."""
    return _options(_module(name))


def paths(name: str) -> list[str]:
    """The options of a data set that are paths."""
    parameters = inspect.signature(_module(name).load).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.annotation is Path]


def without_folders(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, with the name alone of what is a path: for a text that is read where the path does not lead."""
    of = paths(name)
    return {key: Path(value).name if key in of else value for key, value in options.items()}


def located(name: str, options: Mapping[str, Any], folder: str | Path) -> dict[str, Any]:
    """The options, in which paths are absolute: they are relative to the folder, but for those that begin with ~ or /.

    What is no path, and so a mistake, stays as it is.
    """
    found = dict(options)
    for key in paths(name):
        if isinstance(found.get(key), str | Path) and str(found[key]):
            found[key] = os.path.abspath(os.path.join(folder, os.path.expanduser(found[key])))
    return found


def checksum(name: str, root: str | Path | None = None, **options: Any) -> str | None:
    """SHA-256 of what a data set's options name, in hexadecimal digits; None for one that names nothing of one's own.

    Arguments and errors as for `load`; what is read is kept by this process until it changes.
    """
    info(name, **options)
    module = _module(name)
    return module.checksum(**_arguments(name, options)) if hasattr(module, "checksum") else None


def names() -> list[str]:
    """The known data sets, sorted."""
    return sorted(_modules())


def missing(name: str, root: str | Path | None = None, **options: Any) -> list[Path]:
    """The source files of a data set that are not under the data folder, nor packed beside their place."""
    folder = data_root(root)
    return [folder / source for source in info(name, **options).sources if not files.is_there(folder / source)]


def get(name: str, root: str | Path | None = None, **options: Any) -> Splits:
    """As `load`; a download draws its progress on standard error."""
    token = files.show_progress.set(True)
    try:
        return load(name, root, **options)
    finally:
        files.show_progress.reset(token)


def _modules() -> dict[str, ModuleType]:
    modules = {m.name: importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)}
    return {name: module for name, module in modules.items() if hasattr(module, "INFO")}  # others are shared files


def _module(name: str) -> ModuleType:
    modules = _modules()
    if name not in modules:
        raise DataError(
            f"data set {name!r} is not known; known: {', '.join(sorted(modules))}."
            f"{_did_you_mean(name.lower(), list(modules)).removeprefix('.')}"
        )
    return modules[name]


def _options(module: ModuleType) -> dict[str, Any]:
    parameters: Mapping[str, inspect.Parameter] = inspect.signature(module.load).parameters
    return {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def _arguments(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    found, of_paths = located(name, options, Path.cwd()), paths(name)
    return {
        key: Path(value) if key in of_paths and value and isinstance(value, str) else value
        for key, value in found.items()
    }


def _did_you_mean(given: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(given, known, n=1)
    return f". Did you mean {close[0]!r}?" if close else ""
