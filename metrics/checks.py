"""What every metric asks of its input."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def matrix(name: str, values: ArrayLike, axes: str) -> NDArray[np.float64]:
    """The values as float64, once they are known to be a matrix of finite real numbers.

    Args:
        name: the argument's name, for the message.
        values: anything numpy makes an array of.
        axes: what the two axes are, for the message, such as "[N, Z]".

    Raises:
        ValueError: not two axes, an empty one, or values that are not finite real numbers.
    """
    array = np.asarray(values)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} must be {axes}, neither of them 0, but has shape {list(array.shape)}")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers, but its type is {array.dtype}")
    array = array.astype(np.float64)
    if not_finite := array.size - np.count_nonzero(np.isfinite(array)):
        raise ValueError(f"{name} must be finite, but {not_finite} of {array.size} values are NaN or infinite")
    return array
