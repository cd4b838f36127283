"""Seeds of single purposes, of a trial's training and of an epoch's order, out of a study's own."""

from __future__ import annotations

import numpy as np


def derived_seed(*parts: int) -> int:
    """A seed for one purpose out of several numbers, such as (study's seed, trial's number)."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
