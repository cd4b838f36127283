"""Whether the data is there and fits: its options, pairs, pixels, sizes, and the lengths that follow from these."""

from __future__ import annotations

from typing import TYPE_CHECKING

import imagesets
import models
from study.spec.text import counted

if TYPE_CHECKING:
    from study.spec.specification import StudySpec


LONGEST = 2**31 - 1  # steps, which are 32-bit numbers in an Optuna storage

USUAL_BATCH = 64

USUAL_TESTED = 1000


def length_known(spec: StudySpec) -> bool:
    if spec.budget.steps is not None:
        return True
    return all(hasattr(spec, key) for key in ("model", "dataset", "dataset_options")) and sizes_known(spec)


def sizes_known(spec: StudySpec) -> bool:
    """Whether the data set's options are right, and a source of one's own that they name is there."""
    return _data_error(spec) is None


def check_source(spec: StudySpec) -> list[str]:
    """What is wrong with a source of one's own: of the machine, and so no mistake of a specification that is kept."""
    error = _data_error(spec)
    return [f"dataset_options: {error}"] if isinstance(error, imagesets.SourceError) else []


def check_dataset_options(spec: StudySpec) -> list[str]:
    error = _data_error(spec)
    return [] if error is None or isinstance(error, imagesets.SourceError) else [f"dataset_options: {error}"]


def _data_error(spec: StudySpec) -> imagesets.DataError | None:
    try:
        imagesets.info(spec.dataset, **spec.dataset_options)
    except imagesets.DataError as error:
        return error
    return None


def check_pairing(spec: StudySpec) -> list[str]:
    if spec.pairing != "index" and sizes_known(spec) and not spec.images.paired:
        return [f"pairing: {spec.pairing} is for data sets of pairs; an image of {spec.dataset} is single"]
    return []


def check_pairs(spec: StudySpec) -> list[str]:
    """Of a model of one's own the build says what it takes."""
    known = sizes_known(spec) and not models.outside.is_outside(spec.model)
    if not known or spec.images.paired == models.takes_pairs(spec.model):
        return []
    found, needed = ("pairs of images", "single ones") if spec.images.paired else ("single images", "pairs")
    fitting = [name for name in imagesets.names() if imagesets.about(name).paired != spec.images.paired]
    return [f"dataset: {spec.dataset} is of {found}, and {spec.title} takes {needed}: {', '.join(fitting)}"]


def check_preprocessing(spec: StudySpec) -> list[str]:
    if spec.preprocessing.dequantise and spec.likelihood != "gaussian":
        return [f"preprocessing.dequantise: is for the gaussian likelihood, a density; this one is {spec.likelihood}"]
    return []


def check_precision(spec: StudySpec) -> list[str]:
    if spec.precision == "tf32" and spec.resources.gpus == 0:
        return ["precision: tf32 is of GPUs, and with resources.gpus 0 trials are on CPUs; take full, or bf16"]
    return []


def check_lengths(spec: StudySpec) -> list[str]:
    if not length_known(spec):
        return []
    if spec.steps > LONGEST:
        return [f"budget.epochs: {spec.budget.epochs} are {spec.steps} steps; at most {LONGEST} are possible"]
    every = spec.budget.report_every
    if every is not None and every > spec.steps:
        return [f"budget.report_every: {every} must not exceed the budget, which is {counted(spec.steps, 'step')}"]
    return []


def check_batch(spec: StudySpec) -> list[str]:
    """Fewer images than a batch are taken again; that is for few images, not for a slip in a number."""
    if not sizes_known(spec) or spec.budget.batch <= max(spec.images.train, USUAL_BATCH):
        return []
    there = f"which is of {counted(spec.images.train, 'image')}"
    return [f"budget.batch: {spec.budget.batch} must not exceed the training set of {spec.dataset}, {there}"]


def check_images(spec: StudySpec) -> list[str]:
    """More images than there are is a slip, but for the usual number, of which as many are read as there are."""
    if not sizes_known(spec):
        return []
    counts = [("validation.images", spec.validation.images, "validation", spec.images.valid)]
    if spec.confirm.images != USUAL_TESTED:
        counts.append(("confirm.images", spec.confirm.images, "test", spec.images.test))
    return [
        f"{key}: {count} must not exceed the {part} set of {spec.dataset}, which is of {counted(there, 'image')}"
        for key, count, part, there in counts
        if count is not None and count > there
    ]
