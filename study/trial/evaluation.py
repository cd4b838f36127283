"""Validation and test measures of a model: exact form, beta = 1, constants kept."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

import metrics
from models.base import VAE
from models.latents import kl_shares
from models.measures import Measure, Need
from study.spec.measures import SAMPLED, SCORES, possible
from study.trial.images import Images
from study.trial.scores import Coded, How, scored
from study.trial.seeds import derived_seed
from study.trial.stream import Stream

SEED = 0
BATCH = 500
ENCODED = 32
"""At once, where nothing is decoded. The maps of convolutions of more images leave a CPU's caches, and go back to the
system after each layer, to be faulted in again: at 200 images that doubles the time, see `benchmarks.votes`."""


@contextmanager
def evaluating(model: VAE, images: Images, seed: int = SEED) -> Iterator[None]:
    """Evaluation mode and a random stream of its own, no gradients; afterwards everything is as before."""
    training = model.training
    model.eval()
    devices = [images.device] if images.device.type == "cuda" else []
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            _reseed(seed, images.device)
            yield
    finally:
        model.train(training)


def _reseed(seed: int, device: torch.device) -> None:
    """As `torch.manual_seed`, of the CPU and this device alone: that takes a millisecond and a half, in which it writes
    down the stack of calls for each kind of device that is not in use.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def evaluate(
    model: VAE,
    images: Images,
    seed: int = SEED,
    count: int | None = None,
    *,
    first: int | None = None,
    test: bool = False,
    asked: Collection[str] = (),
    samples: int = 500,
    latents: Latents | None = None,
) -> dict[str, float]:
    """Mean measures over a set of images; the model is looked at once a batch.

    Every image gets one draw from the exact posterior, with the same noise at each call: differences between two
    evaluations are then differences between models.

    Args:
        model: on the images' device; left in the mode it was in.
        images: of one split.
        seed: of the draws, and of the choice of images.
        count: of how many images, where not of all; always the same ones.
        first: only so many of them, from the first on.
        test: take the model's own measures that are for `confirm`, too, and no scores of codes, which have a table of
            more codes there, see `coded`.
        asked: what is taken beside the measures of each report.
        samples: draws an image of what is importance-weighted, where that is asked.
        latents: is shown the posterior of each batch, too.

    Returns:
        `study.spec.measures.METRICS` by name, where the images have factors what needs them, and the model's own; the
        ELBO and its halves in nats an image. There is no ELBO where the posterior has no density.
    """
    reconstruction, kl, codes, mean_codes = [], [], [], []
    measures = {each: take for each, take in model.measures().items() if test or each.when == "report"}
    own: dict[str, list[Tensor]] = {measure.name: [] for measure in measures}
    rows = None if count is None else _some(len(images), count, seed)
    with evaluating(model, images, seed):
        for x in images.batches(BATCH, first, among=rows):
            look = model.look(x)
            reconstruction.append(look.elbo.log_lik)
            kl.append(look.elbo.kl)
            codes.append(look.codes)
            mean_codes.append(model.posterior_part.means(look.posterior))
            if latents is not None:
                latents.see(look.posterior, mean_codes[-1], look.codes)
            for measure, take in measures.items():
                own[measure.name].append(take(x, look))
    halves, z = {"reconstruction": _mean(reconstruction), "kl": _mean(kl)}, torch.cat(codes).cpu().numpy()
    means = Coded(torch.cat(mean_codes).cpu().numpy(), _rows(images.factors, rows, first))
    return {
        **({} if model.posterior_part.density == "none" else {"elbo": halves["reconstruction"] - halves["kl"]}),
        **halves,
        "zero_fraction": metrics.zero_fraction(z),
        "small_fraction": metrics.small_fraction(z),
        "hoyer": metrics.hoyer(z),
        "active_units": float(metrics.active_units(means.codes)),
        "effective_latents": metrics.effective_latents(means.codes),
        **({} if test else scored(means, _reported(images, asked))),
        **(_weighted(model, images, samples, rows, seed) if "log_likelihood" in asked else {}),
        **{key: _mean(parts) for key, parts in own.items()},
    }


def _reported(images: Images, asked: Collection[str]) -> list[str]:
    """The scores of a report on these images."""
    has = ["factors"] if images.factors is not None else []
    of_means = [measure for score in SCORES for measure in score.measures]
    return [m.name for m in of_means if possible(m, has) and (m.when == "report" or m.name in asked)]


def score_codes(
    model: VAE, several: Sequence[Images], names: Collection[str], how: How, *, first: int | None = None
) -> dict[str, float]:
    """Scores of a model's codes, of which there is one table for all: each image is encoded once.

    Args:
        model: on the images' device.
        several: splits of one data set, whose codes the table has.
        names: of measures that scores of one model's codes give, of means and of draws.
        how: they are taken.
        first: only so many images of each split, from the first on.

    Returns:
        Their values, by name.
    """
    means, draws = coded(model, several, first=first)
    of_draws = scored(draws, {name.removesuffix(SAMPLED) for name in names if name.endswith(SAMPLED)}, how)
    return scored(means, names, how) | {f"{name}{SAMPLED}": value for name, value in of_draws.items()}


def coded(model: VAE, several: Sequence[Images], seed: int = SEED, *, first: int | None = None) -> tuple[Coded, Coded]:
    """Means and draws of the posterior of all images, each found once.

    Args:
        model: on the images' device.
        several: splits of one data set, one after the other.
        seed: of the draws.
        first: only so many images of each, from the first on.
    """
    means, draws = [], []
    with evaluating(model, several[0], seed):
        for x in itertools.chain.from_iterable(images.batches(ENCODED, first) for images in several):
            q = model.posterior(x)
            means.append(model.posterior_part.means(q).cpu())
            draws.append(q.sample().cpu())
    known = [images.factors[:first] for images in several if images.factors is not None]
    factors = np.concatenate(known) if known else None
    return Coded(torch.cat(means).numpy(), factors), Coded(torch.cat(draws).numpy(), factors)


def _weighted(model: VAE, images: Images, samples: int, rows: Tensor | None, seed: int) -> dict[str, float]:
    found = importance_weighted(model, images, samples, among=rows, seed=seed)
    return {
        "log_likelihood": float(found.log_likelihood.mean()),
        "effective_samples": float(found.effective_samples.mean()),
    }


def _some(n: int, count: int, seed: int) -> Tensor:
    """Some of n images in ascending order, or all of them."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:count].sort().values


def _rows(factors: NDArray[np.int64] | None, rows: Tensor | None, first: int | None) -> NDArray[np.int64] | None:
    return None if factors is None else factors[slice(None) if rows is None else rows.numpy()][:first]


def _mean(parts: list[Tensor]) -> float:
    return torch.cat(parts).double().mean().item()


class Importance(NamedTuple):
    """Importance-weighted log-likelihoods of some images, and how far they can be believed."""

    log_likelihood: NDArray[np.float64]  # [B], nats
    effective_samples: NDArray[np.float64]  # [B], of the S draws
    standard_error: NDArray[np.float64]  # [B], nats, of the log-likelihood over the draws


def importance_weighted(
    model: VAE,
    images: Images,
    samples: int,
    *,
    first: int | None = None,
    among: Tensor | None = None,
    seed: int = SEED,
) -> Importance:
    """The bound of Burda et al. (2016) for each image, with S draws from the model's proposal.

    An image's draws follow from the seed and its number alone: its numbers are the same whichever others are read.

    Args:
        model: on the images' device.
        images: of one split.
        samples: S.
        first: how many of the images, from the first on; None is all.
        among: only those of these numbers, [N].
        seed: of the draws.
    """
    parts = []
    with evaluating(model, images, seed):
        numbers = range(len(images)) if among is None else among.tolist()
        for number, x in zip(numbers, (x for batch in images.batches(BATCH, first, among) for x in batch.split(1))):
            _reseed(derived_seed(seed, number), images.device)
            log_weights = model.log_weights(x, samples).double().cpu().numpy()
            of = (metrics.log_likelihood, metrics.effective_sample_size, metrics.standard_error)
            parts.append([take(log_weights) for take in of])
    return Importance(*map(np.concatenate, zip(*parts)))


def probe_accuracies(
    model: VAE,
    train: Images,
    test: Images,
    examples: int = 5000,
    classifiers: Sequence[Literal["logistic", "mlp"]] = ("logistic", "mlp"),
    *,
    first: int | None = None,
    seen: NDArray[np.float32] | None = None,
) -> list[float]:
    """Share of test labels that small classifiers of codes get right, see `metrics.accuracy`; all read the same codes.

    Args:
        model: on the images' device.
        train: its first `examples` images train the classifiers.
        test: labelled, too.
        examples: how many.
        classifiers: a logistic regression, an MLP, or both.
        first: only so many of the test images, from the first on.
        seen: the codes of these, where they are known.

    Returns:
        Of each a share in [0, 1]; NaN where the data has no labels, or those of the `examples` are all the same.
    """
    if train.labels is None or test.labels is None:
        return [math.nan] * len(classifiers)

    def codes(images: Images, first: int | None = None) -> NDArray[np.float32]:
        with evaluating(model, images):
            return torch.cat([model.codes(x).cpu() for x in images.batches(BATCH, first)]).numpy()

    fitted = codes(train, examples), train.labels[:examples]
    held_out = codes(test, first) if seen is None else seen, test.labels[:first]
    return [metrics.accuracy(*fitted, test=held_out, classifier=each) for each in classifiers]


class Latents:
    """What each latent does, gathered batch by batch in an evaluation.

    Args:
        model: whose latents.
        device: of the images.
    """

    def __init__(self, model: VAE, device: torch.device):
        self._model, self._random = model, Stream(SEED, device)
        self._prior: Distribution | None = None
        self._kl: list[Tensor] = []
        self._means: list[Tensor] = []
        self._codes: list[Tensor] = []

    def see(self, q: Distribution, means: Tensor, codes: Tensor) -> None:
        """Takes a batch: its posterior, with means and codes, [B, Z]."""
        if self._prior is None:
            self._prior = self._model.prior()
        with self._random.swapped_in():  # a KL without a closed form is estimated at a draw
            shares = kl_shares(q, self._prior)
        self._kl.append(torch.full_like(means, math.nan) if shares is None else shares)
        self._means.append(means)
        self._codes.append(codes)

    def codes(self) -> NDArray[np.float32]:
        """Those of the images, [N, Z]."""
        codes: NDArray[np.float32] = torch.cat(self._codes).cpu().numpy()
        return codes

    def found(self) -> dict[str, list[float]]:
        """Means over the images: lists of Z numbers.

        `kl` in nats, NaN where it has no share of each latent, see `models.latents.kl_by_latent`; `variance` of the
        posterior mean over the images, which active units are counted by; `zero_fraction`, the share of codes that are
        exactly 0 there.
        """
        found = {
            "kl": torch.cat(self._kl).double().mean(0),
            "variance": torch.cat(self._means).double().var(0, correction=0),
            "zero_fraction": (torch.cat(self._codes) == 0).double().mean(0),
        }
        return {name: values.tolist() for name, values in found.items()}


def by_latent(model: VAE, images: Images, *, first: int | None = None) -> dict[str, list[float]]:
    """What each latent does, means over images, see `Latents.found`.

    Args:
        model: on the images' device.
        images: of one split.
        first: only so many of them, from the first on.
    """
    with evaluating(model, images):
        latents = Latents(model, images.device)
        for x in images.batches(BATCH, first):
            q = model.posterior(x)
            latents.see(q, model.posterior_part.means(q), model.posterior_part.codes(q))
    return latents.found()


class Tested(NamedTuple):
    """What is measured of a trained model, once."""

    measures: dict[str, float]  # of `study.spec.measures.MEASURES` what the data gives, and the model's own
    latents: dict[str, list[float]] | None  # see `Latents.found`; None where not looked at


def take_all(
    model: VAE,
    train: Images,
    test: Images,
    samples: int,
    weighted: int,
    *,
    first: int | None = None,
    asked: Collection[Measure] | None = None,
) -> Tested:
    """Every measure of a trained model on the test set but scores of codes, for which see `score_codes`.

    Args:
        model: on the images' device.
        train: what classifiers of codes are trained on.
        test: what the measures are taken on.
        samples: draws an image of importance-weighted numbers; with 0 these are left out.
        weighted: how many of the test images are importance-weighted, from the first on.
        first: only so many of the test images, from the first on.
        asked: only these, and what comes with them.
    """
    found, latents, codes = {}, None, None
    if asked is None or any(not {"weights", "labels"} & {*measure.needs} for measure in asked):
        seen = Latents(model, test.device)
        found = evaluate(model, test, first=first, test=True, latents=seen)
        latents, codes = seen.found(), seen.codes()
    if samples and _is_needed("weights", asked):
        found |= _likelihood(model, test, samples, weighted)
    if train.labels is not None and test.labels is not None and _is_needed("labels", asked):
        found["accuracy"], found["accuracy_mlp"] = probe_accuracies(model, train, test, first=first, seen=codes)
    return Tested(found, latents)


def _is_needed(need: Need, asked: Collection[Measure] | None) -> bool:
    return asked is None or any(need in measure.needs for measure in asked)


def _likelihood(model: VAE, test: Images, samples: int, first: int) -> dict[str, float]:
    """The importance-weighted measures, by name."""
    weighted = importance_weighted(model, test, samples, first=first)
    mean, kind = weighted.log_likelihood.mean(), model.likelihood_part.kind(test.pixels)
    found = {
        "log_likelihood": mean,
        "log_likelihood_error": np.sqrt(np.square(weighted.standard_error).sum()) / len(weighted.standard_error),
        "effective_samples": weighted.effective_samples.mean(),
    }
    if kind == "bound":  # of nothing else are there bits
        dequantised = test.pixels == "dequantised"
        found["bits"] = metrics.bits_per_dimension(mean, test.image_shape, kind=kind, dequantised=dequantised)
    return {name: float(value) for name, value in found.items()}
