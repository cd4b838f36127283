"""Pure functions from arrays to numbers: no model, no file, no random state of their own.

The folder is the registry: a metric is a function in a file here, which lists it in `SCORES` with its version.
README.md has each one's definition, and what it says of codes about which the answer is known.
"""

import functools
import importlib
import pkgutil

from metrics.accuracy import accuracy
from metrics.beta_vae import beta_vae
from metrics.bits import bits_per_dimension
from metrics.code_information import code_information
from metrics.dci import DCI, dci
from metrics.explicitness import explicitness
from metrics.factor_vae import factor_vae
from metrics.importance import effective_sample_size, log_likelihood, standard_error
from metrics.mig import mig
from metrics.modularity import modularity
from metrics.sap import sap
from metrics.score import Score
from metrics.sparsity import active_units, effective_latents, hoyer, small_fraction, zero_fraction
from metrics.total_correlation import total_correlation
from metrics.udr import udr
from metrics.wasserstein_correlation import wasserstein_correlation

__all__ = [
    "DCI",
    "Score",
    "accuracy",
    "active_units",
    "beta_vae",
    "bits_per_dimension",
    "code_information",
    "dci",
    "effective_latents",
    "effective_sample_size",
    "explicitness",
    "factor_vae",
    "hoyer",
    "log_likelihood",
    "mig",
    "modularity",
    "sap",
    "scores",
    "small_fraction",
    "standard_error",
    "total_correlation",
    "udr",
    "wasserstein_correlation",
    "zero_fraction",
]


@functools.cache
def scores() -> dict[str, Score]:
    """Every metric of this folder by its name."""
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    return {score.name: score for module in modules for score in getattr(module, "SCORES", ())}
