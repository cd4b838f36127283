"""A study's specification: what a preset file says, checked whole before anything starts.

    spec = study.load("vsc-mnist", ["budget.steps=500", "trials=8"])

Every mistake is reported at once, a line each: the key, what it got, what it takes, and the nearest valid name.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import optuna
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

import imagesets
import models
import searchspaces
from models import outside
from models.domains import LikelihoodName
from study.output import masked
from study.spec import checks
from study.spec.build import batches
from study.spec.checks.data import LONGEST, USUAL_BATCH, USUAL_TESTED, sizes_known
from study.spec.halving import RULES, Rule
from study.spec.measures import RENAMED, SCORES
from study.spec.own import Code, with_code
from study.spec.preprocessing import Pairing, Preprocessing
from study.spec.problems import nearest
from study.spec.ranges import Range, drawing, usual_trial
from study.spec.storage_url import checked


def _unknown(what: str, given: str, known: Sequence[str]) -> str:
    return f"{what} {given!r} is not known; known: {', '.join(known)}{nearest(given, known)}"


def _one_of(what: str, known: Callable[[], Sequence[str]]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in known():
            raise ValueError(_unknown(what, value, known()))
        return value

    return AfterValidator(check)


def _model(value: str) -> str:
    if outside.is_outside(value):
        key = outside.find(value)
        space, defaults = searchspaces.space(key), searchspaces.defaults(key)
        drawn = {name for way in searchspaces.branches(space) for name in way.drawn}
        if lacking := sorted(drawn - defaults.keys()):
            raise ValueError(f"{outside.code(key).origin}: DEFAULTS lacks {', '.join(lacking)}, which space draws")
        space(searchspaces.Usual(defaults))
        return key
    if value not in models.names():
        unknown = _unknown("model", value, models.names())
        raise ValueError(f"{unknown} (a file of yours is named by its path, ending in .py)")
    return value


def _folder_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}", value):
        raise ValueError(
            f"must do for a folder: letters, digits, '.', '_', '+' and '-', 200 at most, beginning with one of the "
            f"first two, got {masked(value)[:250]!r}"
        )
    return value


def _metrics(value: str | list[str]) -> str | list[str]:
    given = [RENAMED.get(name, name) for name in ([value] if isinstance(value, str) else value)]
    if not given or len(set(given)) != len(given):
        raise ValueError(f"must be a metric, or several different ones, got {given}")
    return given[0] if isinstance(value, str) else given


def _scores(value: list[str] | None) -> list[str] | None:
    known = [score.name for score in SCORES]
    for name in value or ():
        if name not in known:
            raise ValueError(_unknown("score", name, known))
    return value


def _share_or_whole(value: float) -> float:
    if value > 1 and not float(value).is_integer():
        raise ValueError(f"must be a share of one GPU, such as 0.25, or a whole number of them, got {value}")
    return value


MANY = 10**6  # what is held in memory at once: trials, draws of an image
Long = Annotated[int, Field(ge=1, le=LONGEST)]
Several = Annotated[int, Field(ge=1, le=MANY)]
Gpus = Annotated[float, Field(ge=0, le=MANY, allow_inf_nan=False), AfterValidator(_share_or_whole)]
Precision = Literal["full", "tf32", "bf16"]
"""Of the products of a training step: float32; float32 with TF32's 10 bits of mantissa; or bfloat16, which has 7."""
FINALISTS = 3  # with fewer, the best of a small search is lost twice as often, see docs/search.md
KEPT = "kept"
"""The context of a validation, in pydantic's words, of what a run has kept: it was checked whole when the run was made.

What needs a model to be built for it is not checked again, which takes torch and so seconds.
"""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Budget(_Part):
    """How long a trial trains, in optimiser steps (or epochs), and how often it reports."""

    steps: Long | None = None
    epochs: Long | None = None
    batch: Long = USUAL_BATCH
    report_every: Long | None = None  # a twentieth of the budget if not given
    log_every: Long = 50

    @model_validator(mode="after")
    def _one_length(self) -> Budget:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"takes either steps or epochs, got {'both' if self.steps else 'neither'}")
        return self


class Asha(_Part):
    """Successive halving: at steps grace * reduction^k, only the best 1/reduction of the trials go on.

    Under `stop` the others end there, under `promote` all pause, and go on once they are among the best. At least
    `complete` trials make their full budget, if there are as many; if not given, none under `stop`, as it always was,
    and under `promote`, which leaves one or none of a small search, as many as `confirm` takes, or FINALISTS.
    """

    grace: Long
    reduction: int = Field(default=3, ge=2, le=LONGEST)
    mode: Literal["stop", "promote"] = "stop"
    complete: int | None = Field(default=None, ge=0, le=MANY)

    def rungs(self, steps: int, warmup: float) -> list[int]:
        """Those below a budget of so many steps, ascending, without those below the end of a warm-up."""
        found, rung = [], self.grace
        while rung < steps:
            found.append(rung)
            rung *= self.reduction
        return [rung for rung in found if rung >= warmup]


class Confirm(_Part):
    """The best `top` configurations and the defaults, each over `seeds` fresh seeds, on the test set.

    What is importance-weighted, is so with `samples` draws an image, on `images` test images; UDR is of these, too.
    `scores` are of the codes of the test set, or of the whole data set, as published ones are. They draw `votes`, or
    are fitted on `examples`, and half as many more evaluate. `fused` trains a configuration's seeds as one program.
    """

    top: int = Field(default=3, ge=0, le=MANY)
    seeds: Several = 5
    samples: Several = 5000
    images: Long = USUAL_TESTED
    scores: Annotated[list[str] | None, AfterValidator(_scores)] = None  # if not given, all that the data can give
    votes: Several = 10_000
    examples: Several = 10_000
    trees: Literal["lightgbm", "scikit-learn"] = "lightgbm"  # of DCI, which is defined by the second, in minutes
    codes_of: Literal["test", "all"] = "test"
    fused: bool = False


class Resources(_Part):
    """What one trial is given. With `auto`, a trial is measured on a card, and as many go on one as have room."""

    cpus: Several = 1
    gpus: Gpus | Literal["auto"] = 0.0

    @property
    def least_gpus(self) -> float:
        """What a machine must have: with `auto`, trials go to CPUs where there is no GPU."""
        return 0.0 if self.gpus == "auto" else self.gpus

    @property
    def text(self) -> str:
        """In a line."""
        gpus = "an automatic share of a" if self.gpus == "auto" else f"{self.gpus:g}"
        return f"{self.cpus} CPU and {gpus} GPU"


def _own_likelihood(given: dict[str, Any]) -> LikelihoodName:
    """The likelihood of a model's paper; of a model that is not known, any."""
    try:
        own: LikelihoodName = models.hyperparameters(given["model"]).get("likelihood", "bernoulli")
    except (KeyError, models.ModelError):
        return "bernoulli"
    return own


def _own_objective(given: dict[str, Any]) -> str:
    """What a model's trials are compared on, if the preset does not say; of a model that is not known, the ELBO."""
    try:
        return models.objective(given["model"], given.get("fixed", {}))
    except (KeyError, models.ModelError):
        return "elbo"


Sampler = Literal["tpe", "gp", "cmaes", "random", "grid", "nsga2"]


def _own_first(given: dict[str, Any]) -> Literal["defaults", "drawn"]:
    """What a search begins with: random points stay random, so that they are a baseline, and a grid a grid."""
    return "drawn" if given.get("sampler") in ("random", "grid") else "defaults"


class Validation(_Part):
    """How many validation images each report reads, always the same ones; all of them if not given.

    A report has `samples` draws an image of what is importance-weighted, where that is an objective.
    """

    images: Long | None = None
    samples: Several = 500


class StudySpec(_Part):
    """A whole study. Built directly, it raises pydantic's ValidationError; `load` words the mistakes for people."""

    name: Annotated[str, AfterValidator(_folder_name)]
    model: Annotated[str, AfterValidator(_model)]
    dataset: Annotated[str, _one_of("data set", imagesets.names)]
    dataset_options: dict[str, Any] = Field(default_factory=dict)
    preprocessing: Preprocessing = Preprocessing()
    pairing: Pairing = "index"
    likelihood: LikelihoodName = Field(default_factory=_own_likelihood)
    sigma: float | Literal["learned", "per_pixel"] = "learned"
    fixed: dict[str, Any] = Field(default_factory=dict)
    space: dict[str, Range] = Field(default_factory=dict)
    objective: Annotated[str | list[str], AfterValidator(_metrics)] = Field(default_factory=_own_objective)
    sampler: Sampler = "tpe"
    startup: Several | None = None  # so many trials must have ended before tpe and gp draw by them; see random_first
    first: Literal["defaults", "drawn"] = Field(default_factory=_own_first)
    trials: int = Field(default=64, ge=0, le=MANY)  # 0: no search, as `seeds` makes it
    asha: Asha | None = None
    budget: Budget
    precision: Precision = "full"
    deterministic: bool = False
    compiled: bool = False
    validation: Validation = Validation()
    confirm: Confirm = Confirm()
    resources: Resources = Resources()
    storage: Annotated[str, AfterValidator(checked)] | None = None
    max_failed: float = Field(default=0.5, ge=0, le=1)
    pathologies: list[str] | None = None  # that trials are watched for; all that the model can have, if not given
    stop_on: list[str] = Field(default_factory=list)  # of these, those that end a trial
    seed: int = Field(default=0, ge=0, lt=2**63)
    code: Code | None = None  # of a model of one's own: `model` is its key then

    @model_validator(mode="before")
    @classmethod
    def _with_code(cls, raw: Any) -> Any:
        return with_code(raw)

    @field_validator("dataset_options")
    @classmethod
    def _located(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """Paths are absolute: a preset's are already, what else is given is relative to the current folder."""
        return imagesets.located(info.data["dataset"], options, Path.cwd()) if "dataset" in info.data else options

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> StudySpec:
        problems = [p for _, check in checks.of(kept=info.context == KEPT) for p in check(self)]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        if self.code is not None:  # a worker has not seen it yet; where it cannot be run, who builds it is told
            with suppress(ValueError):
                outside.adopt(self.code.code)

    @property
    def title(self) -> str:
        """The model in a table: its name, or its file's."""
        return outside.title(self.model)

    @property
    def objectives(self) -> tuple[str, ...]:
        """The metrics that trials are compared on, all maximised; ASHA stops on the first."""
        return (self.objective,) if isinstance(self.objective, str) else tuple(self.objective)

    @property
    def images(self) -> imagesets.Info:
        """What is known of the data set."""
        return imagesets.info(self.dataset, **self.dataset_options)

    @property
    def data(self) -> str:
        """The data set in a table: its name, with the options that are given, and the pairing where there is one."""
        options = imagesets.without_folders(self.dataset, self.dataset_options)
        names = [options.pop(key) for key in imagesets.paths(self.dataset) if key in options]
        given = [*names, *(f"{key} {value}" for key, value in sorted(options.items()))]
        paired = [f"paired by {self.pairing}"] if sizes_known(self) and self.images.paired else []
        return f"{self.dataset} ({', '.join([*given, *paired])})" if given or paired else self.dataset

    @property
    def pixels(self) -> str:
        """What becomes of a pixel, in a table."""
        known = sizes_known(self)
        return self.preprocessing.of(self.images.image_shape) if known else str(self.preprocessing)

    @property
    def validated(self) -> int | None:
        """How many validation images a report reads; None for all of them."""
        count = self.validation.images
        return min(count, self.images.valid) if count is not None and sizes_known(self) else count

    @property
    def tested(self) -> int:
        """How many test images are importance-weighted: no more than there are, as far as that is known."""
        count = self.confirm.images
        return min(count, self.images.test) if sizes_known(self) else count

    @property
    def scores(self) -> tuple[str, ...]:
        """The scores of codes that `confirm` takes: those that are named, or all that the data can give.

        Without factors that is UDR alone; the correlations need none either, and are taken where they are named.
        """
        if self.confirm.scores is not None:
            return tuple(self.confirm.scores)
        known = sizes_known(self) and bool(self.images.factors)
        return tuple(score.name for score in SCORES) if known else ("udr",)

    @property
    def steps(self) -> int:
        """Optimiser steps of a full trial."""
        if self.budget.steps is not None:
            return self.budget.steps
        assert self.budget.epochs is not None
        batch = self.budget.batch * batches(self.model, self.images.image_shape)
        return math.ceil(self.budget.epochs * self.images.train / batch)  # batches run on over an epoch's end

    @property
    def report_every(self) -> int:
        """Optimiser steps from report to report."""
        return min(self.steps, self.budget.report_every or max(1, self.steps // 20))

    @property
    def random_first(self) -> int:
        """How many trials must have ended before tpe and gp draw by them: Optuna's ten, after the defaults a quarter.

        A quarter of the trials is better in a small study that begins with the defaults, see docs/search.md; 4 to 10.
        """
        return self.startup or (max(4, min(10, self.trials // 4)) if self.first == "defaults" else 10)

    @property
    def rungs(self) -> list[int]:
        """The steps at which ASHA compares trials, ascending: none in a KL warm-up, where an ELBO says little."""
        return [] if self.asha is None else self.asha.rungs(self.steps, self.longest_warmup)

    @property
    def least_complete(self) -> int:
        """How many trials make their full budget at least, if ASHA is on and there are as many."""
        if self.asha is None:
            return 0
        usual = max(FINALISTS, self.confirm.top) if self.asha.mode == "promote" else 0
        return usual if self.asha.complete is None else self.asha.complete

    @property
    def pauses(self) -> bool:
        """Whether a trial that ASHA has stopped may go on later."""
        return self.asha is not None and (self.asha.mode == "promote" or self.least_complete > 0)

    def rule(self) -> Rule:
        """What ASHA decides by, with rungs that nobody has reached yet."""
        assert self.asha is not None
        return RULES[self.asha.mode](self.rungs, self.asha.reduction, self.least_complete)

    @property
    def longest_warmup(self) -> float:
        """The longest KL warm-up that a trial may have, in steps."""
        pinned = self.fixed.get("kl_warmup")
        if isinstance(pinned, int | float):  # what else it may be, the checks tell
            return pinned * self.steps
        drawn = self.distributions().get("kl_warmup")
        longest: float = max(getattr(drawn, "choices", [getattr(drawn, "high", 0.0)]))
        return longest * self.steps

    def draw(self, trial: searchspaces.Trial) -> dict[str, Any]:
        """Draws a configuration: every setting of the search space, what is pinned not drawn but taken over."""
        return drawing(self.model, self.fixed, self.space)(trial)

    def defaults(self) -> dict[str, Any]:
        """The paper's own configuration, with what is pinned, and with what goes with that."""
        return self.draw(self._usual())

    def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """The range of every hyperparameter that is drawn, in some trials at least."""
        ways = searchspaces.branches(self.draw)
        return {name: drawn for way in ways for name, drawn in way.drawn.items()}

    def default_draws(self, within: bool = False) -> dict[str, Any]:
        """What a trial would have to draw to have `defaults`, or `within` the ranges what is nearest to them."""
        trial = self._usual(within)
        self.draw(trial)
        return trial.params

    def _usual(self, within: bool = False) -> searchspaces.Usual:
        return usual_trial(self.model, self.space, within)

    def settings_of(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration of a trial that drew these; of one that has not drawn all, only what is known."""
        try:
            with warnings.catch_warnings():  # the paper's own values may lie outside a range that was narrowed
                warnings.simplefilter("ignore", UserWarning)
                return self.draw(optuna.trial.FixedTrial(dict(drawn)))
        except ValueError:
            return {**self.fixed, **drawn}
