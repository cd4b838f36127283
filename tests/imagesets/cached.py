"""What the tests of the cache share: two arrays, and how they are looked at."""

import mmap

import numpy as np

IMAGES = np.random.default_rng(1).integers(0, 256, (7, 1, 3, 5), np.uint8)
LABELS = np.arange(7) * 1000


def make(new):
    new("images", IMAGES.shape, np.uint8)[:] = IMAGES
    new("labels", [7], "int64")[:] = LABELS


def assert_right(arrays):
    assert list(arrays) == ["images", "labels"]
    np.testing.assert_array_equal(arrays["images"], IMAGES)
    np.testing.assert_array_equal(arrays["labels"], LABELS)
    assert [(type(a), a.dtype) for a in arrays.values()] == [(np.ndarray, np.uint8), (np.ndarray, np.int64)]


def mapped(array):
    """Whether an array's values lie in a mapped file."""
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


def folder_of(root, name="dots"):
    (folder,) = (root / "cache").glob(f"{name}-*")
    return folder


def listed(root):
    """What lies under the cache but for the lock, and the contents of its folders."""
    return sorted(str(p.relative_to(root / "cache")) for p in (root / "cache").rglob("*") if p.suffix != ".lock")


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}
