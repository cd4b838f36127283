"""The model card of an export, README.md: YAML that model hubs read, what the model is, and what its numbers are."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import yaml

import models
from models.base import VAE
from models.measures import Measure
from study.record.confirmation import DEFAULTS
from study.record.words import how_scored, in_words
from study.spec import StudySpec
from study.spec.measures import RENAMED, SAMPLED, TRUSTED, in_order, kind_of, measure, number_text, titled, too_few
from study.spec.ranges import text
from study.spec.text import command, counted

MEANING = {
    "bound": "The ELBO is a lower bound on the log-likelihood of the images.",
    "soft cross-entropy": (
        "The pixels are levels, not black or white, and the likelihood is Bernoulli: the value is a soft cross-entropy "
        "plus KL, comparable between models on the same data, but no bound on a log-likelihood."
    ),
    "density of grey levels": (
        "The likelihood is a density over 256 grey levels that were not dequantised: comparable between models on "
        "the same data, but it has no upper limit and is no bound on a log-likelihood."
    ),
}
BESIDE = ("kind", "split", "images", "seed")  # in metrics.json, besides measures


class Confirmed(NamedTuple):
    """What `confirm` found of one configuration on the test set."""

    seeds: int  # that did not fail
    failed: int
    measures: dict[str, tuple[float, float]]  # mean and standard deviation over seeds; of one seed that is NaN


def confirmed(table: pd.DataFrame, configuration: str) -> Confirmed | None:
    """What confirm.parquet says of a configuration; None where it was not confirmed."""
    rows = table[table["configuration"] == configuration] if len(table) else table
    if not len(rows):
        return None
    sound = rows[rows["cause"] == ""]
    taken = {
        column.removeprefix("metrics."): sound[column].dropna() for column in rows if column.startswith("metrics.")
    }
    found = {
        RENAMED.get(name, name): (values.mean(), values.std(ddof=1)) for name, values in taken.items() if len(values)
    }
    return Confirmed(len(sound), len(rows) - len(sound), {name: found[name] for name in in_order(set(found))})


def card(
    config: Mapping[str, Any],
    found: Mapping[str, Any],
    model: VAE,
    spec: StudySpec,
    *,
    among: int,
    configuration: str,
    table: pd.DataFrame,
    run: str,
) -> str:
    """The text of README.md.

    Args:
        config: what config.json holds.
        found: what metrics.json holds.
        model: on the CPU.
        spec: of the study.
        among: how many trials, or seeds where there was no search, it is one of.
        configuration: whose trainings in the table are of its own configuration.
        table: confirm.parquet; without rows where there is none.
        run: how the command line names it.
    """
    return f"""{_front_matter(spec)}

# {spec.title} on {spec.dataset}

{_which(config, among)} in the study `{spec.name}`, after {config["steps"]} optimiser steps.

{_papers(model)}

    import models
    {_load(spec)}
    codes = model.codes(x)              # x: uint8, or floats in [0, 1], [B, {", ".join(map(str, model.image_shape))}]
    images = model.decode(codes)        # mean images, in [0, 1]
    images = model.sample(16)

{_own_code(spec)}{_about(config, model, spec)}

The code is under the MIT licence, and so says `license` above. That of these weights is for you to choose.

## Validation metrics

{_validation(found, model)}

Of {found["images"] or "all"} validation images. Kind: {found["kind"]}. {_meaning(found["kind"], model)}
One draw from the exact posterior an image, KL weight 1. {_chosen(config)},
so these numbers are a little optimistic.

## Test metrics

{_test(configuration, found, model, table, run)}

## Hyperparameters

{_rows(("name", "value"), [*config["hyperparameters"].items(), *config["training"].items(), ("seed", config["seed"])])}
"""


def _which(config: Mapping[str, Any], among: int) -> str:
    if "trial" in config:
        return f"Trial {config['trial']} of {among}"
    return f"Seed {config['repeat'] + 1}, the best of {among},"


def _chosen(config: Mapping[str, Any]) -> str:
    if "trial" in config:
        return "The trial was chosen by its last report, and of that trial the best checkpoint by its own"
    return "The seed and its checkpoint were chosen by the best report"


def _load(spec: StudySpec) -> str:
    own = "" if spec.code is None else ", code=True"
    return f'model = models.load("this folder"{own})  # on the CPU; or with device="cuda"'


def _own_code(spec: StudySpec) -> str:
    if spec.code is None:
        return ""
    return (
        f"The model is not one of latentsweep's: its own file is beside this one, SHA-256 {spec.code.checksum}.\n"
        f"It can do whatever you can, so read it before `code=True` runs it.\n\n"
    )


def _front_matter(spec: StudySpec) -> str:
    said = {
        "library_name": "latentsweep",
        "tags": ["variational-autoencoder", spec.title],
        "datasets": [spec.dataset],
        "metrics": list(spec.objectives),
    }
    return f"---\nlicense: mit  # of the code\n{yaml.safe_dump(said, sort_keys=False, allow_unicode=True)}---"


def _papers(model: VAE) -> str:
    """What the files of the model, of its posterior and of its prior say first: they name the papers."""
    files = [models.module(model.name), inspect.getmodule(model.posterior_part), inspect.getmodule(model.prior_part)]
    first = [inspect.cleandoc(file.__doc__ or "").partition("\n\n")[0] for file in files if file is not None]
    return "\n\n".join(dict.fromkeys(text for text in first if text))


def _about(config: Mapping[str, Any], model: VAE, spec: StudySpec) -> str:
    commit = config["commit"] or "not known"
    checksum = config["dataset_checksum"]
    versions = [f"{name} {version}" for name, version in config["versions"].items()]
    return _rows(
        ("what", "value"),
        [
            ("data set", f"{spec.data}{f', SHA-256 {checksum}' if checksum else ''}"),
            (
                "images",
                f"{[*model.image_shape]}, {spec.pixels}; bytes given to the model are divided by 255 only",
            ),
            ("codes", f"{[*model.prior().event_shape]}, {model.posterior_part.codes_are}; deterministic"),
            *([("ranges of the study", _ranges(spec))] if spec.space else []),
            ("parameters", f"{config['parameters']:,}"),
            ("training steps in", f"{in_words(spec)}; evaluated in float32"),
            ("commit", f"{commit}, with uncommitted changes" if config["changed"] else commit),
            ("versions", ", ".join(versions) or "not known"),
        ],
    )


def _ranges(spec: StudySpec) -> str:
    """What the study drew from, of what its preset says: the rest is the model's own space."""
    drawn = spec.distributions()
    return ", ".join(f"{name} {text(drawn[name])}" for name in spec.space)


def _meaning(kind: str | None, model: VAE) -> str:
    if model.posterior_part.density == "none":
        return "The posterior has no density, and so there is no ELBO: what a discriminator estimates is no bound."
    return MEANING.get(str(kind), "")


def _validation(found: Mapping[str, Any], model: VAE) -> str:
    rows = [
        (titled(m), _text(found[m.name], m), kind_of(m, found["kind"]))
        for m in _measures([name for name in found if name not in BESIDE], model)
    ]
    return _rows(("metric", "value", "kind"), rows)


def _test(own: str, found: Mapping[str, Any], model: VAE, table: pd.DataFrame, run: str) -> str:
    columns = {name: seen for name in dict.fromkeys((own, DEFAULTS)) if (seen := confirmed(table, name))}
    if own not in columns:
        return (
            f"This configuration, `{own}`, was not confirmed when this was written: `{command('confirm', run)}` "
            f"trains the best\nones and the defaults afresh over new seeds, and reads the test set."
        )
    stated = "checkpoint" in table and table["checkpoint"].notna().all()  # older tables are of the last state
    heads = [
        f"{name} (n = {seen.seeds}{f', {seen.failed} more failed' if seen.failed else ''})"
        for name, seen in columns.items()
    ]
    found_of = {name for seen in columns.values() for name in seen.measures}
    names = [name for name in in_order(found_of) if not name.endswith(SAMPLED)]
    rows = [
        (titled(m), *(_spread(seen, m) for seen in columns.values()), kind_of(m, found["kind"]))
        for m in _measures(names, model)
    ]
    among = "one of them" if own == DEFAULTS else "of the trial's own training, which is not among them"
    draws, images = table["samples"].iloc[0], table["images"].iloc[0]
    others = ", and of the defaults" if len(columns) > 1 else ""
    scored = f"\n{how[0].upper()}{how[1:]}." if (how := how_scored(table)) else ""
    star = (
        f"\n\\* fewer than {TRUSTED:g} effective samples an image on average: too few to trust the number."
        if any(_distrusted(seen) for seen in columns.values())
        else ""
    )
    return f"""Mean ± standard deviation over n trainings on fresh seeds at full budget, of which the
{"best checkpoint" if stated else "last state"} was read once on the test set: of this checkpoint's configuration,
`{own}`{others}. The checkpoint itself is {among}.
What is importance-weighted, is so with {counted(draws, "draw")} an image, on {counted(images, "image")}.{scored}{star}

{_rows(("metric", *heads, "kind"), rows)}"""


def _measures(names: Iterable[str], model: VAE) -> list[Measure]:
    own = {m.name: m for m in model.measures()}
    return [own.get(name) or measure(name) for name in names]


def _text(value: float | None, of: Measure) -> str:
    return "not defined" if value is None else number_text(value, of.unit)


def _spread(seen: Confirmed, of: Measure) -> str:
    """Mean and deviation of a measure, with a star where its importance weights are not to be trusted."""
    if of.name not in seen.measures:
        return "not defined"
    mean, deviation = seen.measures[of.name]
    text = number_text(mean, of.unit) + ("" if math.isnan(deviation) else f" ± {number_text(deviation, of.unit)}")
    return f"{text} \\*" if of.kind == "importance-weighted" and _distrusted(seen) else text


def _distrusted(seen: Confirmed) -> bool:
    return too_few(seen.measures.get("effective_samples", (math.inf, 0.0))[0])


def _rows(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
