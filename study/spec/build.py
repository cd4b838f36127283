"""From a specification and a configuration to a model: one way, for training, checks, exports and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import models
from models.base import VAE
from study.spec.settings import is_setting

if TYPE_CHECKING:
    from study.spec.specification import StudySpec


def build(spec: StudySpec, settings: Mapping[str, Any], **more: Any) -> VAE:
    """The model of a configuration, for the images and the likelihood of the specification.

    Args:
        spec: of the study.
        settings: a configuration; what is the training's in it is left out.
        **more: further hyperparameters.

    Raises:
        ModelError: a hyperparameter is not known, or a value is outside its domain.
    """
    hyperparameters = {key: value for key, value in settings.items() if not is_setting(key)}
    return models.build(spec.model, spec.images.image_shape, **hyperparameters, **_likelihood(spec), **more)


def _likelihood(spec: StudySpec) -> dict[str, Any]:
    """The hyperparameters of a model that belong to the preset, never to a search; `logit` only where it is wanted."""
    logit = spec.preprocessing.logit
    return {"likelihood": spec.likelihood, "sigma": spec.sigma, **({} if logit is None else {"logit": logit})}
