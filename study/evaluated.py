"""What `evaluate` says of an exported model on a data set: all that `confirm` takes of it, in the words of its card."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from imagesets import Splits
from models.base import VAE
from models.measures import Measure
from study.record.words import scored_with
from study.spec.measures import (
    MEASURES,
    SCORES,
    TRUSTED,
    in_order,
    kind_of,
    measure,
    number_text,
    possible,
    titled,
    too_few,
    versions,
)
from study.spec.specification import Confirm
from study.spec.text import counted
from study.told import Told
from study.trial.evaluation import Tested, evaluate, score_codes, take_all
from study.trial.images import Images, images_of
from study.trial.scores import How

if TYPE_CHECKING:
    from study.exported import TrainedOn

USUAL = Confirm()  # as `confirm` does, if not told otherwise


def lines(model: VAE, splits: Splits, on: TrainedOn, name: str, samples: int, first: int | None) -> Iterator[str]:
    """The measures of each report on the validation images, then every measure on the test images, a line each.

    Args:
        model: in evaluation mode.
        splits: of the data set.
        on: as what the model saw images.
        name: of the data set.
        samples: draws an image of importance-weighted numbers; with 0 these are left out.
        first: how many of the images are read, from the first on; None is all, of which as many are
            importance-weighted as `confirm` takes.
    """
    valid, test = (
        Told(f"{name}, {part}", getattr(splits, part), on.preprocessing, part=part, pairing=on.pairing)
        for part in ("valid", "test")
    )
    train, weighted = images_of(splits, "train", on.preprocessing, on.pairing), first or USUAL.images
    yield _head(model, valid, name, "valid", first)
    yield from _table(evaluate(model, valid, first=first), model, valid)
    yield _head(model, test, name, "test", first)
    found = take_all(model, train, test, samples, weighted, first=first)
    how = How(USUAL.votes, USUAL.examples, USUAL.trees)
    scores = score_codes(model, [test], _scores(test), how, first=first)
    yield from _table(found.measures | scores, model, test)
    yield from _of_latents(found)
    if samples:
        on_images = counted(min(weighted, len(test)), "image")
        yield f"what is importance-weighted, is so with {samples} draws an image, on {on_images}"
        if too_few(found.measures["effective_samples"]):
            yield f"* fewer than {TRUSTED:g} effective samples an image on average: too few to trust the number"
    yield from _left_out(found, samples, labelled=train.labels is not None and test.labels is not None)
    if test.factors is None:
        yield f"of the scores of codes those without factors: {name} has none"
    else:
        yield f"scores are of posterior means of these images: {scored_with(USUAL.votes, USUAL.examples, USUAL.trees)}"
    yield f"one draw from the exact posterior an image, KL weight 1; {_versions([*found.measures, *scores])}"


def _head(model: VAE, images: Images, name: str, part: str, first: int | None) -> str:
    pixels, kind = images.preprocessing.of(images.image_shape), model.likelihood_part.kind(images.pixels)
    if images.pixels == "binary" and "binary" not in pixels:
        pixels = "binary"  # without preprocessing, as sprites are
    read = counted(len(range(len(images))[:first]), "image")
    return f"{name}, {part}, {read}: the ELBO is a {kind} of {pixels} images"


def _table(found: Mapping[str, float], model: VAE, images: Images) -> Iterator[str]:
    """Title, value and kind of each measure."""
    own, elbo = {each.name: each for each in model.measures()}, model.likelihood_part.kind(images.pixels)
    rows = [
        (titled(each), _text(found, each), kind_of(each, elbo))
        for each in (own.get(name) or measure(name) for name in in_order({*found}))
    ]
    return (f"  {title:44s} {value:>12s}   {kind}" for title, value, kind in rows)


def _text(found: Mapping[str, float], of: Measure) -> str:
    value = "not defined" if math.isnan(found[of.name]) else number_text(found[of.name], of.unit)
    distrusted = of.kind == "importance-weighted" and too_few(found["effective_samples"])
    return f"{value} *" if distrusted else f"{value}  "


def _of_latents(found: Tested) -> Iterator[str]:
    """The KL of each latent, the largest first, where it has one."""
    assert found.latents is not None
    kl = found.latents["kl"]
    if not math.isnan(kl[0]):  # it is NaN in all, or in none
        largest = sorted(range(len(kl)), key=lambda latent: -kl[latent])
        shares = ", ".join(f"{latent}: {number_text(kl[latent], 'nats')}" for latent in largest)
        yield f"  KL of each latent (nats an image): {shares}"


def _scores(images: Images) -> list[str]:
    """The scores of posterior means that one model's codes of these images give."""
    has = () if images.factors is None else ("factors",)
    measures = [measure for score in SCORES for measure in score.measures if "seeds" not in measure.needs]
    return [measure.name for measure in measures if possible(measure, has)]


def _versions(names: Iterable[str]) -> str:
    said = ", ".join(f"{name} {version}" for name, version in versions(names).items())
    return f"all measures are of version 1{f' but {said}' if said else ''}"


def _left_out(found: Tested, samples: int, *, labelled: bool) -> Iterator[str]:
    """Which measures there are none of, and why."""
    why = {
        "labels": "" if labelled else "the data has no labels",
        "weights": "the ELBO is no bound" if samples else "--samples 0",
    }
    for need, reason in why.items():
        titles = [each.title for each in MEASURES if need in each.needs and each.name not in found.measures]
        if titles and reason:
            yield f"no {', no '.join(titles)}: {reason}"
