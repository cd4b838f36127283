"""What a model is shown in tests: single images, or the pairs that some models take."""

import pytest
import torch
from torch import Tensor

import models
from imagesets import Splits
from study.spec import presets


def shape_for(name: str, single: tuple[int, ...] = (1, 8, 8)) -> tuple[int, ...]:
    """The image shape for a model: that of single images, or of pairs of them."""
    return (2, *single) if models.takes_pairs(name) else single


def shown_to(name: str, images: Tensor) -> Tensor:
    """Single images [N, C, H, W] as a model takes them; a pair is an image and the next one, [N, 2, C, H, W]."""
    return torch.stack([images, images.roll(-1, 0)], 1) if models.takes_pairs(name) else images


def data_set_for(name: str) -> str:
    """A small data set of digits."""
    return "mnist_backgrounds" if models.takes_pairs(name) else "mnist5k"


def splits_for(name: str, splits: Splits) -> Splits:
    """Splits of single images as a model takes them."""
    return Splits(*(split._replace(images=shown_to(name, torch.from_numpy(split.images)).numpy()) for split in splits))


def every_model(argument: str, *first: str) -> pytest.MarkDecorator:
    """Parametrises with each model: `make test` takes these first ones, `make test-long` the others."""
    return pytest.mark.parametrize(
        argument, [name if name in first else pytest.param(name, marks=pytest.mark.long) for name in models.names()]
    )


def every_preset(argument: str) -> pytest.MarkDecorator:
    """Parametrises with each preset: `make test` takes one of each model, `make test-long` the others."""
    names = presets()
    first = {name.partition("-")[0]: name for name in reversed(names)}.values()
    return pytest.mark.parametrize(
        argument, [name if name in first else pytest.param(name, marks=pytest.mark.long) for name in names]
    )
