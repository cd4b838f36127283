"""CIFAR-10, Krizhevsky (2009): Python batches as torchvision lays them out, downloaded when they are missing.

A batch is a pickle, which could name any function to be called. Only what numpy's arrays consist of is admitted.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesets import files, reading, scatter
from imagesets.base import Info, Splits
from imagesets.cache import New, splits_of, stored
from imagesets.vision import torchvision

BATCHES = 5  # of training images, equally large

INFO = Info(
    name="cifar10",
    image_shape=(3, 32, 32),
    train=45_000,
    valid=5_000,
    test=10_000,
    description="things of ten classes in colour; valid is drawn from 50,000 training images, test is the set's own",
    files="cifar-10-batches-py/{data_batch_1..5,test_batch}, downloaded when missing (170 MB)",
    sources=(
        *(f"cifar-10-batches-py/data_batch_{number}" for number in range(1, BATCHES + 1)),
        "cifar-10-batches-py/test_batch",
    ),
    stand_in="mnist5k",
)
SEED = 50_000  # of the split, which belongs to the data set


def load(root: Path) -> Splits:
    """Splits of the six files in cifar-10-batches-py under `root`; those missing are downloaded.

    Raises:
        DataError: a file is damaged, which is then left alone; or is missing and cannot be downloaded.
    """
    sizes = [(INFO.train + INFO.valid) // BATCHES] * BATCHES + [INFO.test]
    counts = dict(zip((root / source for source in INFO.sources), sizes))

    def build(new: New) -> None:
        files.fetch(
            INFO,
            root,
            lambda folder: torchvision().datasets.CIFAR10(folder, download=True),
            check=lambda path: read(path, counts[path]),
        )
        batches = list(counts.items())
        for orders, chosen in ((scatter.draw(INFO, SEED), batches[:BATCHES]), (scatter.keep(INFO), batches[BATCHES:])):
            put = scatter.room(new, orders, INFO.image_shape)
            labels: list[int] = []
            for path, count in chosen:
                images, its_labels = read(path, count)
                put(len(labels), images)
                labels += its_labels
            scatter.annotate(new, orders, "labels", np.array(labels))

    return splits_of(stored(root, INFO.name, build, sources=list(counts)))


def read(path: Path, count: int) -> tuple[NDArray[np.uint8], list[int]]:
    """One batch: images, [N, C, H, W], and classes.

    Raises:
        DataError: the file cannot be read, names what no array needs, or holds something else.
    """
    with reading.whole(INFO, path, "batch of CIFAR-10"), open(path, "rb") as file:
        batch = _Unpickler(file, encoding="bytes").load()
    images, labels = (_entry(path, batch, key) for key in ("data", "labels"))
    needed = (count, int(np.prod(INFO.image_shape)))
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        raise files.damaged(INFO, path, "holds data that is no array of uint8")
    if images.shape != needed:
        raise files.damaged(INFO, path, f"holds data of shape {list(images.shape)}, where {list(needed)} is needed")
    if not isinstance(labels, list) or len(labels) != count:
        raise files.damaged(INFO, path, f"holds labels that are no list of {count}")
    if wrong := [label for label in labels if type(label) is not int or not 0 <= label < 10]:
        raise files.damaged(INFO, path, f"holds the label {str(wrong[0])[:20]!r}, where 0 to 9 are needed")
    return images.reshape(count, *INFO.image_shape), labels


def _entry(path: Path, batch: Any, key: str) -> Any:
    if isinstance(batch, dict):
        for spelled in (key.encode(), key):  # Python 2 has written bytes
            if spelled in batch:
                return batch[spelled]
    raise files.damaged(INFO, path, f"holds no {key}")


def _bytes(text: str, encoding: str) -> bytes:
    """As Python 3 spells bytes in a pickle that Python 2 can read."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes are encoded as {encoding}")
    return text.encode("latin1")


_reconstruct: Any = np.empty(0).__reduce__()[0]
_ADMITTED: dict[str, Any] = {
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,  # its name since numpy 2
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "_codecs.encode": _bytes,
}


class _Unpickler(pickle.Unpickler):
    """Admits what numpy's arrays consist of, and raises UnpicklingError for anything else."""

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _ADMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no array needs")
        return _ADMITTED[f"{module}.{name}"]
