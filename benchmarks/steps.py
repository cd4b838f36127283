"""A training in one of several ways as a process that waits to be told how many steps to make, see `serving`:

    echo 50 | python -m benchmarks.steps ours vae --data DIR

- ours: `Training`; compiled: with compiled steps; reports: as ours, and after each time it evaluates;
- bare: the straightforward model in a loop, its images in memory as floats;
- papers: the same with a data set that transforms each image, and a DataLoader.

All have batches of 128, two layers of 500 to each side and a code of 50.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks import bare
from benchmarks.serving import serve

if TYPE_CHECKING:
    from study.spec import StudySpec

SIZES: dict[str, Any] = {"hidden": [bare.HIDDEN, bare.HIDDEN], "latent": bare.LATENT, "beta": 1.0, "kl_warmup": 0.0}
OWN: dict[str, Any] = {"vae": {"posterior": "gaussian", "prior": "standard"}, "vsc": {"alpha": bare.Vsc.alpha}}


def dataset(data: str | None) -> str:
    """MNIST under that root, or else the 5,000 digits that are there in any case."""
    return "mnist5k" if data is None else "mnist"


def rooted(files: Path | None, folder: Path) -> str | None:
    """A root of data sets in a folder, where MNIST's files are those of another: arrays are made of them, and that one
    may be somebody's. None where there are none.
    """
    if files is None:
        return None
    root = folder / "data"
    root.mkdir()
    (root / "MNIST").symlink_to(files.resolve() / "MNIST")
    return str(root)


def validated(data: str | None, count: int) -> dict[str, int]:
    """What a specification says so that a report reads so many validation images, or all where there are fewer."""
    import imagesets

    return {"images": min(count, imagesets.info(dataset(data)).valid)}


def pinned(model: str) -> dict[str, Any]:
    """What a specification pins so that our model has the others' sizes and loss."""
    return {**SIZES, **OWN.get(model, {})}


def specification(model: str, data: str | None, compiled: bool = False) -> StudySpec:
    """Of our training."""
    from study.spec import StudySpec

    budget: Any = {"steps": 10**6, "batch": bare.BATCH}
    fixed, images = pinned(model), dataset(data)
    return StudySpec(name="speed", model=model, dataset=images, fixed=fixed, budget=budget, compiled=compiled)


def ours(model: str, data: str | None, evaluates: bool = False, compiled: bool = False) -> Callable[[int], None]:
    import imagesets
    from study.trial.training import Training

    spec = specification(model, data, compiled)
    training = Training(spec, spec.defaults(), imagesets.load(spec.dataset, data), seed=0)

    def advance(steps: int) -> None:
        training.advance(steps)
        if evaluates:
            training.evaluate()

    return advance


def straightforward(model: str, data: str | None) -> Callable[[int], None]:
    import imagesets

    made = bare.MODELS[model]()
    images = torch.from_numpy(imagesets.load(dataset(data), data).train.images).float() / 255
    made.see(images)
    return bare.loop(made, bare.in_memory(images))


def papers(model: str, data: str | None) -> Callable[[int], None]:
    from imagesets.vision import torchvision

    vision, made = torchvision(), bare.MODELS[model]()
    if data is None:
        import imagesets

        images = bare.PerImage(imagesets.load(dataset(data)).train.images[:, 0], vision.transforms.ToTensor())
        made.see(torch.from_numpy(images.images)[:, None].float() / 255)
    else:
        images = vision.datasets.MNIST(data, transform=vision.transforms.ToTensor())
        made.see(images.data[:, None].float() / 255)
    return bare.loop(made, bare.loaded(images))


WAYS: dict[str, Callable[[str, str | None], Callable[[int], None]]] = {
    "ours": ours,
    "compiled": lambda model, data: ours(model, data, compiled=True),
    "reports": lambda model, data: ours(model, data, evaluates=True),
    "bare": straightforward,
    "papers": papers,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("model", choices=[*bare.MODELS, "hvae"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", help="root of the data sets; without it, 5,000 digits")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    serve(WAYS[given.way](given.model, given.data))


if __name__ == "__main__":
    main()
