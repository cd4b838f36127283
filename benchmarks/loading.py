"""How fast images come: `python -m benchmarks.loading --data DIR`, DIR holding MNIST's files in torchvision's layout.

On one thread: the first load of mnist, which makes the arrays (in a folder of its own), and the second; a batch of 128
gathered and made into floats, and binarised, beside the usual way, a DataLoader with a transform for each image; then
the full grid of sprites, drawn and read, with the process's peak memory. It also holds mnist's images against
torchvision's own reading of the same files.

Expected: the second load under 0.2 s, a batch under 0.2 ms, dynamically binarised under 0.6 ms, sprites under 1 GiB.
"""

from __future__ import annotations

import argparse
import functools
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import imagesets
from imagesets.vision import torchvision
from study.spec.preprocessing import Preprocessing
from study.trial.images import Images

BATCH = 128


def seconds(work: Callable[[], Any], repeats: int, calls: int = 1) -> float:
    """Median over repeats of the seconds that one call takes."""
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        for _ in range(calls):
            work()
        found.append((time.perf_counter() - started) / calls)
    return statistics.median(found)


def line(what: str, value: str) -> None:
    print(f"{what:58s} {value}", flush=True)


def loads(data: Path, root: Path) -> imagesets.Splits:
    (root / "MNIST").symlink_to(data.resolve() / "MNIST")
    line("mnist, first load", f"{seconds(lambda: imagesets.load('mnist', root), 1):.3f} s")
    line("mnist, second load", f"{seconds(lambda: imagesets.load('mnist', root), 5):.3f} s")
    return imagesets.load("mnist", root)


def against_torchvision(splits: imagesets.Splits, data: Path) -> None:
    """Raises AssertionError unless every image and label is torchvision's."""
    mnist = torchvision().datasets.MNIST
    test, train = mnist(str(data), train=False), mnist(str(data), train=True)
    assert np.array_equal(splits.test.images[:, 0], test.data)
    assert splits.test.labels is not None
    assert np.array_equal(splits.test.labels, test.targets)
    ours = np.concatenate([splits.train.images, splits.valid.images])[:, 0].reshape(-1, 784)
    theirs, labels = train.data.numpy().reshape(-1, 784), np.concatenate([splits.train.labels, splits.valid.labels])
    one, other = np.lexsort(ours.T), np.lexsort(theirs.T)
    assert np.array_equal(ours[one], theirs[other])
    assert np.array_equal(labels[one], train.targets.numpy()[other])
    line("mnist equals torchvision's reading", "70,000 images and labels")


def batches(splits: imagesets.Splits, data: Path) -> None:
    order = torch.randperm(len(splits.train.images))
    usual = {}
    for name, transform in (("grey", lambda x: x), ("dynamic binary", torch.bernoulli)):
        vision = torchvision()
        chain = vision.transforms.Compose([vision.transforms.ToTensor(), transform])
        loader = torch.utils.data.DataLoader(
            vision.datasets.MNIST(str(data), transform=chain), batch_size=BATCH, shuffle=True
        )
        source = iter(loader)
        usual[name] = seconds(functools.partial(next, source), 30)
    for preprocessing in (
        Preprocessing(),
        Preprocessing(binarise="dynamic"),
        Preprocessing(binarise="static"),
        Preprocessing(binarise="threshold"),
        Preprocessing(dequantise=True),
    ):
        images, position = Images(splits.train, preprocessing, part="train"), iter(range(10**9))

        def batch(images: Images = images, position: Any = position) -> torch.Tensor:
            start = next(position) * BATCH % (len(order) - BATCH)
            return images.fresh(order[start : start + BATCH])

        seconds(batch, 1, 100)
        ours = seconds(batch, 9, 200)
        beside = usual.get(str(preprocessing))
        ratio = "" if beside is None else f"   DataLoader {1e3 * beside:.1f} ms, {beside / ours:.0f} times as long"
        line(f"a batch of {BATCH}, {preprocessing}", f"{1e3 * ours:.3f} ms{ratio}")


def sprites(root: Path) -> None:
    line("sprites, full grid, first load", f"{seconds(lambda: imagesets.load('sprites', root), 1):.2f} s")
    line("sprites, second load", f"{seconds(lambda: imagesets.load('sprites', root), 3):.2f} s")
    images = Images(imagesets.load("sprites", root).train, part="train")
    total = sum(x.sum().item() for x in images.batches(2048))
    line("sprites, all training images read", f"{total / len(images):.1f} white pixels an image")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    line("this process's peak memory, shared pages included", f"{peak:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds MNIST/raw")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        try:
            splits = loads(arguments.data, Path(folder))
        except imagesets.DataError as error:
            sys.exit(str(error))
        against_torchvision(splits, arguments.data)
        batches(splits, arguments.data)
        sprites(Path(folder))


if __name__ == "__main__":
    main()
