"""Images in. The folder is the registry: a data set is a module here with an `INFO` and a `load(root) -> Splits`.

Importing this package, and asking for names or infos, loads no data and no heavy library: loaders import those inside.
"""

import difflib
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from datasets.base import DataError, Info, Split, Splits, data_root

__all__ = ["DataError", "Info", "Split", "Splits", "data_root", "info", "load", "names"]


def load(name: str, root: str | Path | None = None) -> Splits:
    """The splits of a data set.

    Args:
        name: one of `names()`.
        root: the data folder; see `data_root` for what None means.

    Raises:
        DataError: the name is not known, or its files are missing or damaged.
    """
    splits: Splits = _module(name).load(data_root(root))
    return splits


def info(name: str) -> Info:
    """Sizes and origin of a data set, without loading it. Raises DataError for an unknown name."""
    found: Info = _module(name).INFO
    return found


def names() -> list[str]:
    """The known data sets, sorted."""
    return sorted(_modules())


def _modules() -> dict[str, ModuleType]:
    modules = {m.name: importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)}
    return {name: module for name, module in modules.items() if hasattr(module, "INFO")}  # others are shared files


def _module(name: str) -> ModuleType:
    modules = _modules()
    if name not in modules:
        nearest = difflib.get_close_matches(name.lower(), modules, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise DataError(f"data set {name!r} is not known; known: {', '.join(sorted(modules))}.{hint}")
    return modules[name]
