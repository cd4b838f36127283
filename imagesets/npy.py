"""npy files, read a piece at a time from whatever holds them: a file of its own, or a member of an npz.

Nothing is unpickled: a header is a literal, and what follows it is taken for the values of its type.
"""

import math
import warnings
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Header(NamedTuple):
    """Shape, whether the values lie by column, and type of an array."""

    shape: tuple[int, ...]
    by_column: bool
    dtype: np.dtype[Any]


def header(file: IO[bytes]) -> Header:
    """Reads the header; the values come next."""
    version = np.lib.format.read_magic(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns of what Python 2 wrote
        if version == (1, 0):
            return Header(*np.lib.format.read_array_header_1_0(file))
        return Header(*np.lib.format.read_array_header_2_0(file))


def rows(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], piece: int) -> Iterator[NDArray[Any]]:
    """The values after a header, by row, in pieces of at most so many rows. At the end a zip's checksum is compared.

    Raises:
        EOFError, ValueError: there are fewer values, or more.
    """
    bytes_a_row = dtype.itemsize * math.prod(shape[1:])
    for start in range(0, shape[0], piece):
        count = min(piece, shape[0] - start)
        content = file.read(count * bytes_a_row)
        if len(content) < count * bytes_a_row:
            raise EOFError(f"it ends after {start + len(content) // bytes_a_row} of {shape[0]} rows")
        yield np.frombuffer(content, dtype).reshape(count, *shape[1:])
    if file.read(1):
        raise ValueError("it is longer than its header says")
