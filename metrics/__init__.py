"""Pure functions from arrays to numbers: no model, no file, no random state of their own."""

from metrics.bits import bits_per_dimension
from metrics.importance import effective_sample_size, log_likelihood
from metrics.sparsity import active_units, hoyer, zero_fraction

__all__ = [
    "active_units",
    "bits_per_dimension",
    "effective_sample_size",
    "hoyer",
    "log_likelihood",
    "zero_fraction",
]
