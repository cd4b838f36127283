"""Arrays in a MATLAB file, version 5, of known shapes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesets import files, reading
from imagesets.base import Info


def read(info: Info, path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[Any]]:
    """The named arrays, each of numbers and of the shape given for it.

    Raises:
        DataError: the file cannot be read, is no whole MATLAB file, or holds no such arrays.
    """
    from scipy.io import loadmat

    with reading.whole(info, path, "MATLAB file"), open(path, "rb") as file:
        found = loadmat(file, variable_names=list(shapes))
    for name, shape in shapes.items():
        if name not in found:
            raise files.damaged(info, path, f"holds no array {name}")
        array = found[name]
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "uif":
            raise files.damaged(info, path, f"holds {name} as {type(array).__name__}, where numbers are needed")
        if array.shape != shape:
            raise files.damaged(info, path, f"holds {name} of shape {list(array.shape)}, where {list(shape)} is needed")
    return {name: found[name] for name in shapes}
