"""What is measured of a model: at each report of a trial, or once on the test set, by `confirm`.

A model adds its own, see `models.base.VAE.measures`. Trials are compared on their first objective, everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from models.measures import Measure

MEASURES = (
    Measure("elbo", "ELBO", "nats", "more", "bound"),
    Measure("reconstruction", "log p(x given z)", "nats", "more", "estimate"),
    Measure("kl", "KL", "nats", "less", "estimate"),
    Measure("zero_fraction", "share of exact zeros in codes", "share", "more", "share", ("codes",)),
    Measure("hoyer", "Hoyer sparsity of codes", "score", "more", "score", ("codes",)),
    Measure("active_units", "active units", "units", "more", "score", ("means",)),
    Measure("log_likelihood", "log p(x)", "nats", "more", "importance-weighted", ("weights",), "asked"),
    Measure("effective_samples", "effective samples", "draws", "more", "score", ("weights",), "confirm"),
    Measure("accuracy", "accuracy of a probe on codes", "share", "more", "share", ("codes", "labels"), "confirm"),
)
"""Those that every model has; nats are per image."""

METRICS = tuple(measure.name for measure in MEASURES if measure.when == "report")
STOPPED = "stopped"  # in a report: the trial ended with it
EDITION = "edition"  # in a report and a result: of the measures' definitions; what has none is of the first
TRUSTED = 10.0  # effective samples an image, on average
"""With fewer, an importance-weighted number is not to be trusted. The logarithm of a mean of weights has a variance of
about 1 / ESS - 1 / S over the draws and lies half that too low (the delta method), so that at 10 an image is uncertain
by 0.3 nats; below, a few draws have nearly all the weight and the method itself fails."""

DECIMALS = {"nats": 2, "share": 3, "score": 3, "draws": 1, "seconds": 1}  # by unit, wherever people read

KEPT = ("seconds", "cpu_seconds", "reported", "train")  # of a report, besides measures
BESIDE = {"steps", "measures", EDITION, STOPPED, *KEPT}  # what is no measure in a report
RENAMED = {"log_lik": "reconstruction"}  # in what earlier releases wrote
LATEST = 2  # since when active units are counted on posterior means, as Burda et al. (2016) do
DEFINED_ANEW = {"active_units": "active_codes"}  # names of what the first edition defined otherwise


def current(found: Mapping[str, Any]) -> dict[str, Any]:
    """A report or a result with today's names, whichever release wrote it."""
    names = todays_names(found.get(EDITION, 1))
    return {names.get(key, key): value for key, value in found.items()}


def todays_names(edition: int) -> dict[str, str]:
    """What names in something of that edition are called today, where that is another."""
    return RENAMED if edition >= LATEST else {**RENAMED, **DEFINED_ANEW}


def taken(reports: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of the measures that any of these reports holds, in order."""
    return in_order({key for report in reports for key in report} - BESIDE)


def in_order(names: set[str]) -> list[str]:
    """The names of measures in the table's order, a model's own after them."""
    known = [measure.name for measure in MEASURES]
    return [name for name in known if name in names] + sorted(names - set(known))


def measure(name: str) -> Measure:
    """A measure of the table by its name; of a model's own, what can be said without the model."""
    own = Measure(name, name.replace("_", " "), "", "more", "score")
    return next((known for known in MEASURES if known.name == name), own)


def number_text(value: float, unit: str = "") -> str:
    """A number as people read it: a measure with the decimals of its unit, another with four digits that count."""
    if unit == "units":
        return f"{value:.1f}".removesuffix(".0")  # most are counts
    if unit in DECIMALS:
        return f"{value:.{DECIMALS[unit]}f}"
    return f"{value:.0f}" if value == round(value) else f"{value:.4g}"  # of 12345 no 1.234e+04
