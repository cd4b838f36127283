"""What every metric asks of its input."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

SMALL = 1000  # classes that are numbered below this stay as they are
LARGEST = 1e100  # of a code that counts as finite: sums of squares stay so


def matrix(name: str, values: ArrayLike, axes: str) -> NDArray[np.float64]:
    """The values as float64, once they are known to be a matrix of finite real numbers.

    Args:
        name: the argument's name, for the message.
        values: anything numpy makes an array of.
        axes: what the two axes are, for the message, such as "[N, Z]".

    Raises:
        ValueError: not two axes, an empty one, or values that are not finite real numbers.
    """
    array = real(name, values, axes).astype(np.float64, copy=False)
    if not_finite := array.size - np.count_nonzero(np.isfinite(array)):
        raise ValueError(f"{name} must be finite, but {not_finite} of {array.size} values are NaN or infinite")
    return array


def real(name: str, values: ArrayLike, axes: str) -> NDArray[Any]:
    """The values in single precision if they came in it, else in double, as a matrix that need not be finite.

    Raises:
        ValueError: not two axes, an empty one, or values that are not real numbers.
    """
    array = np.asarray(values)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} must be {axes}, neither of them 0, but has shape {list(array.shape)}")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers, but its type is {array.dtype}")
    return array if array.dtype == np.float32 else array.astype(np.float64, copy=False)


def finite(codes: NDArray[Any]) -> bool:
    """Whether there is a score of these codes: none is NaN, infinite, or so large that its square may be."""
    return float(np.abs(codes).max()) < LARGEST


def scaled(codes: NDArray[np.float64], by: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Codes with each latent multiplied by a power of two to be of the size of 1, for what ignores scales.

    It is exact, and keeps squares and single precision from overflow and from vanishing.

    Args:
        codes: [N, Z].
        by: whose size it is that counts, if not theirs, [M, Z].
    """
    exponent = np.frexp(np.abs(codes if by is None else by).max(axis=0))[1]
    found: NDArray[np.float64] = np.ldexp(codes, -exponent)
    return found


class Labelled(NamedTuple):
    """The codes of some images, and the classes of their factors."""

    codes: NDArray[Any]  # [N, Z], `finite`, float32 or float64
    factors: NDArray[np.int64]  # [N, K], small numbers from 0 on


def labelled(codes: ArrayLike, factors: ArrayLike) -> Labelled | None:
    """Codes with those of the factors that vary; None where no score is defined.

    A factor of a single class is left out, as the 2019 study leaves out dSprites' colour: nothing can be learned about
    it. None are defined where codes are not `finite`, or no factor is left.

    Args:
        codes: [N, Z].
        factors: classes, [N, K], as whole numbers of any size.

    Raises:
        ValueError: a shape or type is wrong, or a class is no whole number.
    """
    return _varying(_labelled(codes, factors))


def train_and_test(
    codes: ArrayLike,
    factors: ArrayLike,
    test: tuple[ArrayLike, ArrayLike] | None,
    generator: np.random.Generator | None,
) -> tuple[Labelled, Labelled] | None:
    """What a score is fitted on and what it is taken on; None where it is not defined, see `labelled`.

    Args:
        codes: [N, Z].
        factors: classes, [N, K].
        test: codes and factors to score on; without them that is one half of the rows, and the other half trains.
        generator: draws the halves; None is always the same ones.

    Raises:
        ValueError: a shape or type is wrong, a class is no whole number, or `test` has other latents or factors.
    """
    given = _labelled(codes, factors)
    size = len(given.codes)
    if test is None:
        order = (np.random.default_rng(0) if generator is None else generator).permutation(size)
        first, second = order[: size // 2], order[size // 2 :]
    else:
        other = _labelled(*test, name="test ")
        if (given.codes.shape[1], given.factors.shape[1]) != (other.codes.shape[1], other.factors.shape[1]):
            raise ValueError(
                f"test must have the latents and factors of what is fitted, {given.codes.shape[1]} and "
                f"{given.factors.shape[1]}, but has {other.codes.shape[1]} and {other.factors.shape[1]}"
            )
        given = Labelled(np.concatenate([given.codes, other.codes]), np.concatenate([given.factors, other.factors]))
        first, second = np.arange(size), np.arange(size, len(given.codes))
    z, y = given.codes.astype(np.float64), _numbered(given.factors)  # all rows: a class has one number in both parts
    varies = (y[first] != y[first[:1]]).any(axis=0)
    if not varies.any() or not finite(z):
        return None
    return Labelled(z[first], y[first][:, varies]), Labelled(z[second], y[second][:, varies])


def _labelled(codes: ArrayLike, factors: ArrayLike, name: str = "") -> Labelled:
    z = real(f"{name}codes", codes, "[N, Z]")
    y = classes(f"{name}factors", factors)
    if len(z) != len(y):
        raise ValueError(f"{name}codes and factors must be of the same images, but are of {len(z)} and {len(y)}")
    return Labelled(z, y)


def classes(name: str, factors: ArrayLike) -> NDArray[np.int64]:
    """Factors as whole numbers, [N, K]."""
    whole = np.asarray(factors)
    if whole.ndim == 2 and whole.size and whole.dtype.kind in "biu":
        return whole.astype(np.int64, copy=False)
    values = matrix(name, factors, "[N, K]")
    if not (values == np.floor(values)).all():
        raise ValueError(f"{name} must be classes, which are whole numbers, but hold fractions")
    return values.astype(np.int64)


def _varying(given: Labelled) -> Labelled | None:
    varies = (given.factors != given.factors[0]).any(axis=0)
    if not varies.any() or not finite(given.codes):
        return None
    return Labelled(given.codes, _numbered(given.factors[:, varies]))


def _numbered(factors: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same classes under small numbers, so that they can be counted by index."""
    if factors.min() >= 0 and factors.max() < SMALL:
        return factors
    return np.stack([np.unique(column, return_inverse=True)[1] for column in factors.T], axis=1)
