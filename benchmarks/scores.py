"""What the metrics say of codes about which the answer is known, how much chance is in it, and what it costs.

    python -m benchmarks.scores --seeds 3
    python -m benchmarks.scores --trees scikit-learn --only dci --seeds 1    # minutes for each of the five codes

The factors are dSprites' five, with 10,000 draws to train and 5,000 to test, as in the 2019 study. Prints a table of
markdown, as metrics/README.md has it: each score's mean over draws of factors and codes, with its deviation; then its
deviation over generators alone, on one draw of mixed codes, for what takes a generator; and the processor's seconds for
ten latents.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import metrics

SIZES = np.array([3, 6, 40, 32, 32])
TRAIN, TEST = 10_000, 5_000
GENERATORS = 5
MODELS = 4  # of which UDR is taken

Array = NDArray[Any]


class Codes(NamedTuple):
    """Train and test rows of codes and of factors."""

    train: tuple[Array, Array]
    test: tuple[Array, Array]


def draw(kind: str, random: np.random.Generator) -> Codes:
    """Codes of a kind, of 10,000 and 5,000 draws of the factors."""
    factors = random.integers(0, SIZES, (TRAIN + TEST, len(SIZES)))
    codes = encode(kind, factors, random)
    return Codes((codes[:TRAIN], factors[:TRAIN]), (codes[TRAIN:], factors[TRAIN:]))


def encode(kind: str, factors: Array, random: np.random.Generator) -> Array:
    """Codes of these factors, by another model of that kind at each call."""
    s = (factors - (SIZES - 1) / 2) / np.sqrt((SIZES**2 - 1) / 12)
    match kind:
        case "perfect":
            return s[:, random.permutation(5)] * random.choice([-1, 1], 5)
        case "perfect, 5 dead":
            return np.concatenate([s, 1e-3 * random.normal(size=s.shape)], axis=1)
        case "useless":
            return random.normal(size=(len(s), 10))
        case "duplicated":
            return np.concatenate([s, s], axis=1)
        case "mixed":
            return s @ random.normal(size=(5, 10))
    raise ValueError(f"kind {kind!r} is not known")


KINDS = ("perfect", "perfect, 5 dead", "useless", "duplicated", "mixed")
Taken = Callable[[Codes, np.random.Generator], Any]


def table(trees: Any) -> dict[str, Taken]:
    """How each metric is taken of codes, to one number or several."""
    return {
        "factor_vae": lambda c, g: metrics.factor_vae(*c.train, g),
        "beta_vae": lambda c, g: metrics.beta_vae(*c.train, g),
        "mig": lambda c, g: metrics.mig(*c.train),
        "dci": lambda c, g: metrics.dci(*c.train, test=c.test, trees=trees, generator=g),
        "sap": lambda c, g: metrics.sap(*c.train, test=c.test),
        "modularity": lambda c, g: metrics.modularity(*c.train),
        "explicitness": lambda c, g: metrics.explicitness(*c.train, test=c.test),
        "accuracy, logistic": lambda c, g: of_the_first(c, "logistic", g),
        "accuracy, mlp": lambda c, g: of_the_first(c, "mlp", g),
        "total_correlation": lambda c, g: metrics.total_correlation(c.train[0]),
        "wasserstein_correlation, normalised": lambda c, g: metrics.wasserstein_correlation(c.train[0], normalise=True),
        "code_information": lambda c, g: metrics.code_information(c.train[0]),
        "hoyer": lambda c, g: metrics.hoyer(c.train[0]),
        "active_units": lambda c, g: metrics.active_units(c.train[0]),
        "effective_latents": lambda c, g: metrics.effective_latents(c.train[0]),
    }


def of_the_first(codes: Codes, classifier: Any, generator: np.random.Generator) -> float:
    """Accuracy on the first factor, dSprites' shape."""
    (z, y), (z_test, y_test) = codes
    return metrics.accuracy(z, y[:, 0], test=(z_test, y_test[:, 0]), classifier=classifier, generator=generator)


def ranked(kind: str, random: np.random.Generator) -> float:
    """Mean UDR of some models of a kind."""
    factors = random.integers(0, SIZES, (TRAIN, len(SIZES)))
    codes = [encode(kind, factors, random) for _ in range(MODELS)]
    return float(metrics.udr(codes, [np.where(z.std(axis=0) > 0.01, 1.0, 0.0) for z in codes]).mean())


def row(name: str, take: Taken, seeds: int) -> list[str]:
    """Lines of the table."""
    by_kind, seconds = {}, 0.0
    for kind in KINDS:
        values = []
        for seed in range(seeds):
            codes = draw(kind, np.random.default_rng(seed))
            began = time.process_time()
            values.append(np.atleast_1d(take(codes, np.random.default_rng(seed))))
            seconds = time.process_time() - began  # of the last kind's last, mixed codes
        by_kind[kind] = np.array(values)
    spread = None
    if name in ("factor_vae", "beta_vae"):
        codes = draw("mixed", np.random.default_rng(0))
        spread = np.std([take(codes, np.random.default_rng(seed)) for seed in range(GENERATORS)], ddof=1)
    fields = [f"{name}: {part}" for part in metrics.DCI._fields] if name == "dci" else [name]
    return [
        line(field, [by_kind[kind][:, i] for kind in KINDS], "" if spread is None else f"{spread:.3f}", seconds)
        for i, field in enumerate(fields)
    ]


def line(name: str, values: Sequence[Array], spread: str, seconds: float) -> str:
    cells = [f"{of.mean():.3f} ± {of.std(ddof=1):.3f}" if of.std() > 5e-4 else f"{of.mean():.3f}" for of in values]
    return " | ".join(["", f"`{name}`", *cells, spread, f"{seconds:.2g}", ""]).strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="draws of factors and codes")
    parser.add_argument("--trees", default="lightgbm", choices=["lightgbm", "scikit-learn"], help="of DCI")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these metrics")
    arguments = parser.parse_args()
    print(" | ".join(["", "metric", *KINDS, "over generators", "seconds", ""]).strip())
    print("| " + "--- | " * (len(KINDS) + 3), flush=True)
    for name, take in table(arguments.trees).items():
        if not arguments.only or name in arguments.only:
            print(*row(name, take, arguments.seeds), sep="\n", flush=True)
    if not arguments.only or "udr" in arguments.only:
        began = time.process_time()
        values = [np.array([ranked(kind, np.random.default_rng(s)) for s in range(arguments.seeds)]) for kind in KINDS]
        seconds = (time.process_time() - began) / len(KINDS) / arguments.seeds
        print(line("udr", values, "", seconds), flush=True)


if __name__ == "__main__":
    main()
