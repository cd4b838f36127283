"""What an export says of the images that its model was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagesets
import models
from models import export
from study.spec.preprocessing import Pairing, Preprocessing

if TYPE_CHECKING:
    from models.base import VAE


class TrainedOn(export.Said):
    """Of config.json, which images a model was trained on, and as what it saw them."""

    dataset: str
    dataset_options: dict[str, Any]
    dataset_checksum: str | None = None  # of images of one's own
    preprocessing: Preprocessing
    pairing: Pairing


def trained_on(folder: Path, model: VAE) -> TrainedOn:
    """What the export in a folder was trained on.

    Raises:
        ModelError: config.json lacks a key, or a value is one that it cannot have.
    """
    try:
        return export.read(TrainedOn, model.config)
    except ValueError as error:
        raise models.ModelError(f"{folder} is a damaged export ({error}); export the study again") from None


def image_shape(folder: Path, on: TrainedOn) -> tuple[int, ...]:
    """Of the images that a model was trained on.

    Raises:
        ModelError: config.json names no data set, or options that it does not have.
    """
    try:
        return imagesets.info(on.dataset, **on.dataset_options).image_shape
    except imagesets.DataError as error:
        raise models.ModelError(f"{folder / export.FILE}: dataset or dataset_options: {error}{_remedy(on)}") from None


def _remedy(on: TrainedOn) -> str:
    """An export knows images of one's own by their name, which is taken to lie in the current folder."""
    keys = imagesets.paths(on.dataset) if on.dataset in imagesets.names() else []
    named = [key for key in keys if key in on.dataset_options]
    return f"; where they lie elsewhere, --option {named[0]}=... says where" if named else ""
