"""New images to codes, by an exported model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import imagesets
from imagesets import Split, images
from imagesets.source import NAME, Source
from models import ModelError
from models.base import VAE
from study.exported import TrainedOn, trained_on
from study.spec.preprocessing import Preprocessing
from study.told import Told
from study.trial.evaluation import ENCODED, evaluating
from study.trial.files import write_whole

FITTING = ("size", "grey")  # the options of the data set `images` that say how images are made to fit


def source_of(export: Path, model: VAE, path: Path, options: Mapping[str, Any]) -> tuple[Source, TrainedOn]:
    """The images at a path, before their pixels are read, and what the export was trained on.

    Args:
        export: its folder.
        model: that was loaded from there.
        path: of an npz or npy file, or of a folder of pictures.
        options: `size` and `grey`, see `imagesets.images`; where the model was trained on images of one's own, those of
            the training if not given.

    Raises:
        ModelError: the model is one of pairs or of images of another shape, or the export is damaged.
        DataError: an option is not known, or the images are missing or are not what they should be.
    """
    if unknown := [key for key in options if key not in FITTING]:
        where = "; the images are FILE, behind the export" if unknown[0] == "path" else ""
        takes = f"it takes {' and '.join(FITTING)}, as in --option size=[28,28] --option grey=true"
        raise imagesets.DataError(f"encode has no option {unknown[0]!r}{where}; {takes}")
    if len(model.image_shape) == 4:
        raise ModelError(
            f"{export} is a model of pairs of images, and a file has single ones; `model.codes` takes pairs"
        )
    on = trained_on(export, model)
    as_trained = {key: on.dataset_options[key] for key in FITTING if on.dataset == NAME and key in on.dataset_options}
    source = images.source(path=Path(os.path.expanduser(path)), **{**as_trained, **options})
    if source.image_shape != model.image_shape:
        raise ModelError(
            f"{export} is a model of images {list(model.image_shape)}, {path} has {list(source.image_shape)}; "
            f"{_remedy(model.image_shape, source.image_shape)}"
        )
    return source, on


def _remedy(needed: tuple[int, ...], given: tuple[int, ...]) -> str:
    """The options that make images fit, where there are such."""
    size = [] if needed[1:] == given[1:] else [f"--option size=[{needed[1]},{needed[2]}]"]
    grey = [] if needed[0] == given[0] else [f"--option grey={str(needed[0] == 1).lower()}"]
    return f"{' '.join([*size, *grey])} makes them fit"


def encoded(model: VAE, source: Source, preprocessing: Preprocessing, name: str) -> pd.DataFrame:
    """The codes of images.

    Args:
        model: on the CPU.
        source: the images, of the model's shape.
        preprocessing: what becomes of their bytes; draws, where it has such, are those of a test set.
        name: of the images, in a line that says now and then how many are done.

    Returns:
        One row an image, in the order of the source: `image`, its number from 0; `file` of a folder; `z0`, `z1`, ...;
        `label` and `factor_1`, `factor_2`, ... where they are known; of a folder with a folder a class `class`, whose
        names in their order the labels count.
    """
    told = Told(name, Split(np.concatenate(list(source.pieces()))), preprocessing, part="test")
    with evaluating(model, told):
        codes = torch.cat([model.codes(x) for x in told.batches(ENCODED)]).numpy()
    table = {"image": np.arange(source.total)}
    if source.names is not None:
        table["file"] = np.array(source.names, dtype=object)
    table |= {f"z{number}": column for number, column in enumerate(codes.T)}
    if source.labels is not None:
        table["label"] = source.labels
        if source.names is not None:
            table["class"] = np.array([os.path.basename(os.path.dirname(name)) for name in source.names], dtype=object)
    if source.factors is not None:
        table |= dict(zip(images.factor_names(source.factors.shape[1]), source.factors.T))
    return pd.DataFrame(table)


def write(table: pd.DataFrame, path: Path) -> None:
    """Writes a table whole, as its path ends: .parquet or .csv."""
    to_file = table.to_parquet if path.suffix == ".parquet" else table.to_csv
    write_whole(path, lambda temporary: to_file(temporary, index=False))
