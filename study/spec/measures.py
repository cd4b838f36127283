"""What is measured of a model: at each report of a trial, or once on the test set, by `confirm`.

A model adds its own, see `models.base.VAE.measures`. Trials are compared on their first objective, everywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

import metrics
from models.measures import Measure, Need

_BASIC = (
    Measure("elbo", "ELBO", "nats", "more", "bound"),
    Measure("reconstruction", "log p(x given z)", "nats", "more", "estimate"),
    Measure("kl", "KL", "nats", "less", "estimate"),
    Measure("zero_fraction", "share of exact zeros in codes", "share", "more", "share", ("codes",)),
    Measure("small_fraction", "share of codes closer to 0 than 0.01", "share", "more", "share", ("codes",)),
    Measure("hoyer", "Hoyer sparsity of codes", "score", "more", "score", ("codes",)),
    Measure("active_units", "active units", "units", "more", "score", ("means",), version=2),  # 1: of codes
    Measure("effective_latents", "effective number of latents", "units", "more", "score", ("means",)),
    Measure("log_likelihood", "log p(x)", "nats", "more", "importance-weighted", ("weights",), "asked"),
    Measure("log_likelihood_error", "standard error of log p(x)", "nats", "less", "estimate", ("weights",), "confirm"),
    Measure("effective_samples", "effective samples", "draws", "more", "score", ("weights",), "confirm"),
    Measure("bits", "bits a dimension", "bits", "less", "importance-weighted", ("weights",), "confirm"),
    Measure("accuracy", "accuracy of a probe on codes", "share", "more", "share", ("codes", "labels"), "confirm"),
    Measure("accuracy_mlp", "accuracy of an MLP on codes", "share", "more", "share", ("codes", "labels"), "confirm"),
)
"""Those that every model has; nats are per image."""


SAMPLED = "_sampled"  # what the names of measures of draws end in


class Scored(NamedTuple):
    """A score of codes, and the measures that it gives: of posterior means, and but for one, of draws too."""

    name: str  # in a preset
    metric: str  # in `metrics`; its numbers in the order of the measures
    measures: tuple[Measure, ...]

    @property
    def all(self) -> tuple[Measure, ...]:
        return self.measures if self.name == "udr" else (*self.measures, *map(_of_draws, self.measures))


def _of_draws(measure: Measure) -> Measure:
    needs: tuple[Need, ...] = tuple("draws" if need == "means" else need for need in measure.needs)
    title = f"{measure.title}, sampled codes"
    return measure._replace(name=f"{measure.name}{SAMPLED}", title=title, needs=needs, when="confirm")


def _scored(name: str, *titles: str, needs: tuple[Need, ...], metric: str = "", **more: Any) -> Scored:
    metric = metric or name
    score = metrics.scores()[metric]
    more = {"unit": "score", "better": score.better, "kind": "score", "when": "asked", "version": score.version, **more}
    names = [f"{name}_{number}" for number in score.numbers] or [name]
    return Scored(name, metric, tuple(Measure(each, title, needs=needs, **more) for each, title in zip(names, titles)))


_FITTED: tuple[Need, ...] = ("means", "factors", "examples")
_VOTED: tuple[Need, ...] = ("means", "factors", "votes")
_DCI = [f"DCI {number}" for number in metrics.scores()["dci"].numbers]

SCORES = (
    _scored("mig", "MIG", needs=_FITTED, when="report"),
    _scored("modularity", "modularity", needs=_FITTED, when="report"),
    _scored("factor_vae", "FactorVAE score", needs=_VOTED),
    _scored("beta_vae", "beta-VAE score", needs=_VOTED),
    _scored("dci", *_DCI, needs=(*_FITTED, "trees"), when="confirm"),
    _scored("sap", "SAP", needs=_FITTED),
    _scored("explicitness", "explicitness", needs=_FITTED),
    _scored(
        "gaussian_total_correlation",  # `factor` has another estimate of it as `total_correlation`
        "Gaussian total correlation",
        needs=("means", "examples"),
        metric="total_correlation",
        unit="nats",
        kind="estimate",
        when="report",
    ),
    _scored("wasserstein_correlation", "Wasserstein correlation", needs=("means", "examples"), unit="", when="report"),
    _scored("udr", "UDR", needs=("means", "seeds"), when="confirm"),
)
"""Each report has those that cost few milliseconds at 1,000 images and 10 latents: `mig` 1.2, `modularity` 0.9, the
correlations 0.3. Those that the preset must name cost more: `explicitness` 24, `factor_vae` 29, `beta_vae` 85, `sap`
93."""


def _with_its_metrics_version(measure: Measure) -> Measure:
    """Of a newer version where the metric that it is taken by is."""
    metric = {"effective_samples": "effective_sample_size"}.get(measure.name, measure.name)
    score = metrics.scores().get(metric)
    return measure if score is None else measure._replace(version=measure.version + score.version - 1)


MEASURES = (*map(_with_its_metrics_version, _BASIC), *(measure for score in SCORES for measure in score.all))

SETTINGS = {
    "weights": ("samples", "images"),
    "examples": ("examples", "codes_of"),
    "votes": ("votes", "codes_of"),
    "trees": ("trees",),
    "seeds": ("images",),
}
"""The keys of a preset's `confirm` that a measure depends on, by what it needs."""

METRICS = tuple(
    measure.name for measure in MEASURES if measure.when == "report" and not {"factors", "labels"} & {*measure.needs}
)
"""Those of each report on any data."""

STOPPED = "stopped"  # in a report: the trial ended with it
PAUSED = "paused"  # in a report: the trial was stopped with it, and may go on later
VERSIONS = "versions"  # in a report and a table: of its measures, by name; what is not named is of the first
EDITION = "edition"  # what earlier releases wrote in its place
TRUSTED = 10.0  # effective samples an image, on average
"""With fewer, an importance-weighted number is not to be trusted. The logarithm of a mean of weights has a variance of
about 1 / ESS - 1 / S over the draws and lies half that too low (the delta method), so that at 10 an image is uncertain
by 0.3 nats; below, a few draws have nearly all the weight and the method itself fails."""

DECIMALS = {"nats": 2, "bits": 3, "share": 3, "score": 3, "draws": 1, "seconds": 1}  # by unit, wherever people read

PLACE = "place"  # in a report: among all of its study, in the order in which they came in and ASHA judged them
PATHOLOGIES = "pathologies"  # in a report: how it was judged, see `study.trial.pathologies`
KEPT = ("seconds", "cpu_seconds", "reported", "train", "peak_memory", PLACE, PATHOLOGIES)  # besides measures
BESIDE = {"steps", "measures", VERSIONS, EDITION, STOPPED, PAUSED, *KEPT}  # what is no measure in a report
RENAMED = {"log_lik": "reconstruction"}  # in what earlier releases wrote
FORMERLY = {("active_units", 1): "active_codes"}  # the columns of earlier versions, where they have a name


def versions(names: Iterable[str]) -> dict[str, int]:
    """Today's versions of these measures, those of the first left out."""
    return {name: version for name in names if (version := measure(name).version) > 1}


def versions_said(said: Mapping[str, Any]) -> Mapping[str, int]:
    """Of the measures in a report, a result or a table, by what it says of them."""
    found: Mapping[str, int] = said.get(VERSIONS, {"active_units": 2} if said.get(EDITION, 1) > 1 else {})
    return found


def column(name: str, version: int) -> str:
    """What a measure of that version is called today: two versions never stand in one column."""
    name = RENAMED.get(name, name)
    return name if version == measure(name).version else FORMERLY.get((name, version), f"{name}_v{version}")


def too_few(effective_samples: float) -> bool:
    """Whether an importance-weighted number rests on fewer than are to be trusted; not where they are NaN."""
    return bool(effective_samples < TRUSTED)


def current(found: Mapping[str, Any]) -> dict[str, Any]:
    """A report with today's names, whichever release wrote it."""
    said = versions_said(found)
    return {column(key, said.get(key, 1)): value for key, value in found.items()}


def taken(reports: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of the measures that any of these reports holds, in order."""
    return in_order({key for report in reports for key in report} - BESIDE)


def in_order(names: set[str]) -> list[str]:
    """The names of measures in the table's order, a model's own after them."""
    known = [measure.name for measure in MEASURES]
    return [name for name in known if name in names] + sorted(names - set(known))


def possible(measure: Measure, has: Collection[str]) -> bool:
    """Whether the data can give a measure.

    Args:
        measure: any.
        has: which of "factors" and "labels" are known of it.
    """
    return all(need in has for need in measure.needs if need in ("factors", "labels"))


def kind_of(measure: Measure, elbo: str | None) -> str:
    """What kind of number a measure is, where the study's ELBO is such a one."""
    if measure.kind == "bound":
        return str(elbo)
    return f"importance-weighted {elbo}" if measure.kind == "importance-weighted" else measure.kind


def titled(measure: Measure) -> str:
    """A measure's title, with its unit where it is one of an image."""
    return f"{measure.title} (nats an image)" if measure.unit == "nats" else measure.title


@cache
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
