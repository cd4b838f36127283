"""torchvision, importable beside a torch that its wheel was not built for.

The wheel on PyPI is compiled against CUDA. Beside a CPU-only torch its compiled operators cannot be loaded, and
`import torchvision` stops with "operator torchvision::nms does not exist", because it describes `nms` and `qnms` to
the compiler unconditionally. Declaring the two without an implementation is enough; nothing here computes with them.
"""

import importlib
import importlib.util
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[object] = []  # a declaration lives as long as the Library that made it


def torchvision() -> ModuleType:
    """The module torchvision, its missing operators declared first where there are any."""
    if "torchvision" not in sys.modules:
        _declare_missing_operators()
    return importlib.import_module("torchvision")


def _declare_missing_operators() -> None:
    import torch  # takes a second, which naming the data sets should not

    # The true operators come first: once declared here, theirs could no longer be loaded.
    spec = importlib.util.find_spec("torchvision")
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        for library in Path(folder).glob("_C.*"):
            with suppress(OSError):
                torch.ops.load_library(str(library))
    missing = [name for name in ("nms", "qnms") if not hasattr(torch.ops.torchvision, name)]
    if missing:
        library_of_ours = torch.library.Library("torchvision", "FRAGMENT")
        for name in missing:
            library_of_ours.define(name + _SCHEMA)
        _declared.append(library_of_ours)
