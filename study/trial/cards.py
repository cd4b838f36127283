"""A trial's share of a card. Knows nothing of Ray."""

from __future__ import annotations

import torch

from study.trial import arithmetic


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


def missing() -> str:
    """Why torch finds no card, in a line; empty where it does."""
    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA, and finds no GPU"
    return f"torch {torch.__version__}, for CUDA {torch.version.cuda}, finds no GPU; does its driver work?"
