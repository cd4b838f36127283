"""Pure functions from arrays to numbers: no model, no file, no random state of their own."""

from metrics.bits import bits_per_dimension
from metrics.importance import effective_sample_size, log_likelihood, standard_error
from metrics.sparsity import active_units, effective_latents, hoyer, small_fraction, zero_fraction

__all__ = [
    "active_units",
    "bits_per_dimension",
    "effective_latents",
    "effective_sample_size",
    "hoyer",
    "log_likelihood",
    "small_fraction",
    "standard_error",
    "zero_fraction",
]
