"""From a specification and a configuration to a model: one way, for training, checks, exports and tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import models
from models.domains import Shape
from study.spec.problems import nearest
from study.spec.settings import SETTINGS, is_setting

if TYPE_CHECKING:
    from models.base import VAE
    from study.spec.specification import StudySpec


def build(spec: StudySpec, settings: Mapping[str, Any], image_shape: Shape | None = None) -> VAE:
    """The model of a configuration, with the likelihood of the specification.

    Args:
        spec: of the study.
        settings: a configuration; of the training's settings in it, the rates must be ones that the model has.
        image_shape: of the images; None is that of the specification's data set.

    Raises:
        ModelError: a hyperparameter is not known, a value is outside its domain, a rate is nobody's, or the model's
            updates and groups of parameters do not fit.
    """
    hyperparameters = {key: value for key, value in settings.items() if not is_setting(key)}
    model = models.build(spec.model, image_shape or spec.images.image_shape, **hyperparameters, **_likelihood(spec))
    if problems := _nobodys(settings, model) + _badly_grouped(model):
        raise models.ModelError("; ".join(f"{spec.title}: {problem}" for problem in problems))
    return model


@cache
def batches(model: str, image_shape: Shape) -> int:
    """How many batches of images a step of a model wants; 1 where there is no such model."""
    with suppress(models.ModelError):
        classes = [value for value in vars(models.described(model)).values() if isinstance(value, type)]
        if any(getattr(each, "batches", 1) != 1 for each in classes):
            import torch

            with torch.device("meta"):
                return models.build(model, image_shape).batches
    return 1


def _nobodys(settings: Mapping[str, Any], model: VAE) -> list[str]:
    """The rates and betas among the settings that no optimiser of the model would read, in a line each."""
    groups = model.parameter_groups()
    known = [*SETTINGS, *(rate for group in groups.values() for rate in group), *(f"betas_{name}" for name in groups)]
    known = list(dict.fromkeys(known))
    return [
        f"{key}: no parameters have such a setting; there are: {', '.join(known)}{nearest(key, known)}"
        for key in settings
        if is_setting(key) and key not in known
    ]


def _badly_grouped(model: VAE) -> list[str]:
    """What is wrong between a model's updates, its optimisers and its parameters, in a line each.

    What is in no group is not trained, as a paper may want it.
    """
    groups = model.parameter_groups()
    unknown = dict.fromkeys(update.optimiser for update in model.updates() if update.optimiser not in groups)
    problems = [f"an update names the optimiser {name!r}; there are: {', '.join(groups)}" for name in unknown]
    grouped = Counter(id(parameter) for rates in groups.values() for group in rates.values() for parameter in group)
    for name, parameter in model.named_parameters():
        if (count := grouped[id(parameter)]) > 1:
            problems.append(f"the parameter {name} is in {count} groups, where one at most is possible")
    return problems


def _likelihood(spec: StudySpec) -> dict[str, Any]:
    """The hyperparameters of a model that belong to the preset, never to a search; `logit` only where it is wanted."""
    logit = spec.preprocessing.logit
    return {"likelihood": spec.likelihood, "sigma": spec.sigma, **({} if logit is None else {"logit": logit})}
