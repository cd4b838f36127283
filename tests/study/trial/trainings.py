"""What the tests of training share: settings, and the comparison of two trainings."""

import pytest
import torch
from torch import Tensor

import models
from study.trial.training import Training

EVERY_SETTING = {"lr": 3e-3, "lr_drop": 0.5, "grad_clip": 5.0, "weight_decay": 1e-4, "betas": [0.8, 0.99]}
SIZES = {"latent": 4, "hidden": 12}
FURTHER = {"discriminator_hidden": 128, "pseudo_inputs": 8, "noises": 3, "noise_hidden": 8}  # of models that have such


def sizes(model: str) -> dict[str, int]:
    """Settings with which a model is small."""
    return {**SIZES, **{key: FURTHER[key] for key in FURTHER.keys() & models.hyperparameters(model).keys()}}


every_model = pytest.mark.parametrize("model", models.names())


def identical(a, b) -> bool:
    """The same structure and the same bits."""
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(identical(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(identical(x, y) for x, y in zip(a, b))
    return a == b or (a != a and b != b)


def weights(training: Training) -> Tensor:
    return torch.cat([p.detach().flatten() for p in training.model.parameters()])
