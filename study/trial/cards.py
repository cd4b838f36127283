"""A trial's share of a card. Knows nothing of Ray."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from imagesets import Splits
from models import ModelError
from study.trial import arithmetic, snapshot
from study.trial.training import NonFiniteLossError, Training

if TYPE_CHECKING:
    from study.spec import StudySpec
    from study.spec.specification import Precision

STEPS = 3  # after the first, optimisers have their moments


class CardError(Exception):
    """A GPU was given that torch does not find: the machine's mistake, not the trial's."""


def take(share: float, deterministic: bool = False) -> torch.device:
    """The card that this process sees first, of whose memory it takes no more than its share; of a whole one, all.

    Of the share is what torch allocates. CUDA itself takes some hundreds of megabytes for each process beside it.

    Args:
        share: of the card; 1 and more for whole ones.
        deterministic: whether kernels are to be, which cuBLAS must know before CUDA starts.

    Raises:
        CardError: torch finds no card.
    """
    arithmetic.prepare(deterministic)
    if obstacle := missing():
        raise CardError(obstacle)
    if share < 1:
        torch.cuda.set_per_process_memory_fraction(share, 0)
    return torch.device("cuda", 0)


class Look(NamedTuple):
    """What a process sees of the card that it was given."""

    obstacle: str  # why no trial can go there, in a line; empty where one can
    name: str = ""
    memory: int = 0  # bytes of the whole card


def look(precision: Precision) -> Look:
    """Looks at the card that this process sees first."""
    if obstacle := missing():
        return Look(f"trials are given a GPU, and {obstacle}; add --set resources.gpus=0 to run on CPUs")
    card = torch.device("cuda", 0)
    properties = torch.cuda.get_device_properties(card)
    return Look(arithmetic.obstacle(precision, card), properties.name, properties.total_memory)


def peak(spec: StudySpec, settings: Mapping[str, Any], splits: Splits, device: torch.device | str = "cuda:0") -> int:
    """Bytes that torch reserves at most for a training, of which some steps, a report and its picture are made.

    Args:
        spec: of the study.
        settings: a configuration; one that no model can be built from takes nothing.
        splits: the data.
        device: a card that this process has to itself. Of a training that has no room there, it is all of it.
    """
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        training = Training(spec, settings, splits, seed=0, device=device)
        with suppress(NonFiniteLossError):  # the largest of each setting together need not learn
            training.advance(min(STEPS, spec.steps))
        training.evaluate()
        snapshot.take(training.model, training.valid_images)
    except ModelError:
        return 0
    except torch.OutOfMemoryError:
        return torch.cuda.get_device_properties(0).total_memory
    return torch.cuda.max_memory_reserved()


def missing() -> str:
    """Why torch finds no card, in a line; empty where it does."""
    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA, and finds no GPU"
    return f"torch {torch.__version__}, for CUDA {torch.version.cuda}, finds no GPU; does its driver work?"
