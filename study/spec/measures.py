"""What a trial reports of a model, and so what an objective may be."""

from __future__ import annotations

METRICS = ("elbo", "log_lik", "kl", "zero_fraction", "hoyer", "active_units")
"""Per image and in nats: the first three."""
