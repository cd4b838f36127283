"""A study's specification: what a preset file says, checked whole before anything starts.

    spec = load("vsc-mnist", ["budget.steps=500", "trials=8"])

Every mistake is reported at once, a line each: the key, what it got, what it takes, and the nearest valid name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import optuna
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

import datasets
import models
import searchspaces
from study import checks
from study.backend import without_password
from study.checks import nearest
from study.evaluation import METRICS
from study.preprocessing import Pairing, Preprocessing

PRESETS = Path(__file__).parent / "presets"


class SpecError(Exception):
    """What is wrong with a specification, a line for each mistake."""

    def __init__(self, source: str, problems: Sequence[str]):
        self.problems = list(problems)
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))


def _unknown(what: str, given: str, known: Sequence[str]) -> str:
    return f"{what} {given!r} is not known; known: {', '.join(known)}{nearest(given, known)}"


def _one_of(what: str, known: Callable[[], Sequence[str]]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in known():
            raise ValueError(_unknown(what, value, known()))
        return value

    return AfterValidator(check)


def _folder_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", value):
        raise ValueError(
            f"must do for a folder: letters, digits, '.', '_', '+' and '-', beginning with one of the first two, "
            f"got {value!r}"
        )
    return value


def _metrics(value: str | list[str]) -> str | list[str]:
    given = [value] if isinstance(value, str) else value
    unknown = [_unknown("metric", metric, METRICS) for metric in given if metric not in METRICS]
    if unknown:
        raise ValueError("; ".join(unknown))
    if not given or len(set(given)) != len(given):
        raise ValueError(f"must be a metric, or several different ones, got {given}")
    return value


def _share_or_whole(value: float) -> float:
    if value > 1 and not float(value).is_integer():
        raise ValueError(f"must be a share of one GPU, such as 0.25, or a whole number of them, got {value}")
    return value


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Budget(_Part):
    """How long a trial trains, in optimiser steps (or epochs), and how often it reports."""

    steps: int | None = Field(None, ge=1)
    epochs: int | None = Field(None, ge=1)
    batch: int = Field(64, ge=1)
    report_every: int | None = Field(None, ge=1)  # a twentieth of the budget if not given
    log_every: int = Field(50, ge=1)

    @model_validator(mode="after")
    def _one_length(self) -> Budget:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"takes either steps or epochs, got {'both' if self.steps else 'neither'}")
        return self


class Asha(_Part):
    """Successive halving: at steps grace * reduction^k, only the best 1/reduction of the trials go on."""

    grace: int = Field(ge=1)
    reduction: int = Field(3, ge=2)


class Confirm(_Part):
    """The best `top` configurations and the defaults, each over `seeds` fresh seeds, on the test set."""

    top: int = Field(3, ge=0)
    seeds: int = Field(5, ge=1)
    samples: int = Field(5000, ge=1)
    images: int = Field(1000, ge=1)


class Resources(_Part):
    """What one trial is given."""

    cpus: int = Field(1, ge=1)
    gpus: Annotated[float, AfterValidator(_share_or_whole)] = Field(0.0, ge=0, allow_inf_nan=False)


class StudySpec(_Part):
    """A whole study. Built directly, it raises pydantic's ValidationError; `load` words the mistakes for people."""

    name: Annotated[str, AfterValidator(_folder_name)]
    model: Annotated[str, _one_of("model", models.names)]
    dataset: Annotated[str, _one_of("data set", datasets.names)]
    dataset_options: dict[str, Any] = Field(default_factory=dict)
    preprocessing: Preprocessing = Preprocessing()
    pairing: Pairing = "index"
    likelihood: Literal["bernoulli", "gaussian", "logistic"] = "bernoulli"
    sigma: float | Literal["learned", "per_pixel"] = "learned"
    fixed: dict[str, Any] = Field(default_factory=dict)
    objective: Annotated[str | list[str], AfterValidator(_metrics)] = "elbo"
    sampler: Literal["tpe", "random", "grid", "nsga2"] = "tpe"
    trials: int = Field(64, ge=1)
    asha: Asha | None = None
    budget: Budget
    confirm: Confirm = Confirm()
    resources: Resources = Resources()
    storage: Annotated[str, AfterValidator(without_password)] | None = None
    max_failed: float = Field(0.5, ge=0, le=1)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> StudySpec:
        problems = [p for _, check in checks.CHECKS for p in check(self)]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def objectives(self) -> tuple[str, ...]:
        """The metrics that trials are compared on, all maximised; ASHA stops on the first."""
        return (self.objective,) if isinstance(self.objective, str) else tuple(self.objective)

    @property
    def images(self) -> datasets.Info:
        """What is known of the data set."""
        return datasets.info(self.dataset, **self.dataset_options)

    @property
    def data(self) -> str:
        """The data set in a table: its name, with the options that are given, and the pairing where there is one."""
        given = [f"{key} {value}" for key, value in sorted(self.dataset_options.items())]
        paired = [f"paired by {self.pairing}"] if self.images.paired else []
        return f"{self.dataset} ({', '.join([*given, *paired])})" if given or paired else self.dataset

    @property
    def steps(self) -> int:
        """Optimiser steps of a full trial."""
        return checks.steps(self)

    @property
    def report_every(self) -> int:
        """Optimiser steps from report to report."""
        return checks.report_every(self)

    @property
    def rungs(self) -> list[int]:
        """The steps at which ASHA compares trials, ascending; none without it."""
        return checks.rungs(self)

    def space(self, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        """Draws a configuration: every setting of the search space, what is pinned not drawn but taken over."""
        return searchspaces.beside(self.model, self.fixed)(trial)

    def defaults(self) -> dict[str, Any]:
        """The paper's own configuration, with what is pinned, and with what goes with that."""
        return self.space(self._usual())

    def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """The range of every hyperparameter that is drawn, in some trials at least."""
        ways = searchspaces.branches(self.space)
        return {name: drawn for way in ways for name, drawn in way.drawn.items()}

    def default_draws(self) -> dict[str, Any]:
        """What a trial would have to draw to have `defaults`."""
        trial = self._usual()
        self.space(trial)
        return trial.params

    def _usual(self) -> searchspaces.Usual:
        return searchspaces.Usual(searchspaces.defaults(self.model))

    def settings_of(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration of a trial that drew these; of one that has not drawn all, only what is known."""
        try:
            return self.space(optuna.trial.FixedTrial(dict(drawn)))
        except ValueError:
            return {**self.fixed, **drawn}


class _Partial:
    """The keys of a specification that are sound by themselves."""


def check(raw: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with a specification as read from a file, a line each; empty if nothing is."""
    problems: dict[str, str] = {}
    try:
        StudySpec(**{str(key): value for key, value in raw.items()})
        return []
    except ValidationError as error:
        for key, message in (_worded(e) for e in error.errors() if e["loc"]):
            problems[key] = f"{problems[key]}, or: {message}" if key in problems else message  # members of a union
    partial = _Partial()
    for key, field in StudySpec.model_fields.items():
        if key in problems or (field.is_required() and key not in raw):
            continue
        value = raw.get(key, field.get_default(call_default_factory=True))
        if isinstance(value, Mapping):  # what is wrong in it is told already; the rest may be checked
            value = {k: v for k, v in value.items() if f"{key}.{k}" not in problems}
        annotation = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        config = None if isinstance(annotation, type) and issubclass(annotation, BaseModel) else ConfigDict(strict=True)
        with suppress(ValidationError):  # the rest is not whole
            setattr(partial, key, TypeAdapter(annotation, config=config).validate_python(value))
    lines = [f"{key}: {message}" for key, message in problems.items()]
    return lines + [
        line
        for needs, problem in checks.CHECKS
        if all(hasattr(partial, key) for key in needs)
        for line in problem(partial)
    ]


def _worded(error: Any) -> tuple[str, str]:
    """(key, message) of one of pydantic's errors."""
    location = [str(part) for part in error["loc"] if part != "[key]"]
    if location[0] in ("objective", "sigma"):  # the member of a union says nothing to a reader
        location = location[:1]
    key, message = ".".join(location), str(error["msg"])
    if error["type"] == "extra_forbidden":
        known = _keys_beside(location)
        return key, f"there is no such key; there are: {', '.join(known)}{nearest(location[-1], known)}"
    if error["type"] == "missing":
        return key, "is needed and not given"
    if error["type"] in ("model_type", "dict_type"):
        return key, f"must be a group of keys, got {error['input']!r}"
    message = re.sub(r"^(Value error, |Assertion failed, )", "", message)
    message = message[:1].lower() + message[1:]
    return key, message if error["type"] == "value_error" else f"{message}, got {error['input']!r}"


def _keys_beside(location: Sequence[str]) -> list[str]:
    part: type[BaseModel] = StudySpec
    for key in location[:-1]:
        part = {
            "asha": Asha,
            "budget": Budget,
            "confirm": Confirm,
            "preprocessing": Preprocessing,
            "resources": Resources,
        }.get(key, part)
    return list(part.model_fields)


def presets() -> list[str]:
    """Names of the presets that come with the project."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load(preset: str | Path, overrides: Sequence[str] = ()) -> StudySpec:
    """Reads and checks a preset.

    Args:
        preset: a name in study/presets, or the path of a YAML file.
        overrides: "key=value" each, as in "budget.steps=500"; the value is read as YAML.

    Raises:
        SpecError: the file cannot be read, or something in it is wrong; all mistakes are named.
    """
    path = Path(preset)
    if str(preset) in presets():
        path = PRESETS / f"{preset}.yaml"
    source = path.name
    raw = _read(path, str(preset))
    malformed = [problem for override in overrides if (problem := _apply(raw, override))]
    problems = malformed + check(raw)
    if problems:
        raise SpecError(source, problems)
    return StudySpec(**raw)


def options(given: Sequence[str]) -> dict[str, Any]:
    """What "key=value" strings say, each value read as YAML.

    Raises:
        SpecError: one of them is not that.
    """
    found: dict[str, Any] = {}
    problems = [problem for pair in given if (problem := _apply(found, pair, "--option"))]
    if problems:
        raise SpecError("options", problems)
    return found


def _read(path: Path, given: str) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise SpecError(
            given,
            [
                f"no such preset or file; presets: {', '.join(presets())}{nearest(given, presets())}"
                " (a file of yours is named by its path, ending in .yaml)"
            ],
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file in UTF-8"
        raise SpecError(given, [f"cannot be read: {reason}; a preset is a YAML file"]) from None
    try:
        raw = parse(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise SpecError(
            path.name, [f"is not YAML{where}: {getattr(error, 'problem', None) or 'unreadable characters'}"]
        ) from None
    if not isinstance(raw, dict):
        found = "nothing" if raw is None else f"a {type(raw).__name__}"
        raise SpecError(
            path.name, [f"holds {found}; a preset is a mapping of keys such as name, model, dataset, budget"]
        )
    return raw


def _apply(raw: dict[str, Any], override: str, flag: str = "--set") -> str | None:
    """Sets one "key=value" in the raw specification, or says what is wrong with it."""
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        return f"{flag} {override!r}: must be key=value, for example --set budget.steps=500"
    try:
        value = parse(text)
    except (yaml.YAMLError, ValueError):
        return f"{flag} {override!r}: the value is not YAML"
    target = raw
    for part in parts[:-1]:
        if target.get(part) is None:
            target[part] = {}
        if not isinstance(target[part], dict):
            return f"{flag} {override!r}: {part} is not a group of keys"
        target = target[part]
    target[parts[-1]] = value
    return None


def dump(spec: StudySpec) -> str:
    """The specification as YAML that `load` reads again, with every default written out."""
    return yaml.dump(spec.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """Takes 1e-3 for a number, as YAML 1.2 does; in YAML 1.1 it is text."""


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads."""


for _yaml in (_Loader, _Dumper):
    _yaml.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), "-+0123456789")


def parse(text: str) -> Any:
    """What YAML says.

    Raises:
        YAMLError, ValueError: it is not YAML; the second for dates and numbers that cannot be.
    """
    return yaml.load(text, Loader=_Loader)
