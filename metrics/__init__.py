"""Pure functions from arrays to numbers: no model, no file, no random state of their own."""

from metrics.importance import effective_sample_size, log_likelihood
from metrics.sparsity import active_units, hoyer, zero_fraction

__all__ = ["active_units", "effective_sample_size", "hoyer", "log_likelihood", "zero_fraction"]
