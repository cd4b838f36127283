"""Which orderings that the papers claim hold here: small trainings on MNIST and on the four points, over three seeds.

    python -m benchmarks.claims --data DIR --out DIR            # 39 trainings, 15 minutes of one core
    python -m benchmarks.claims --data DIR --out DIR --quick    # a tenth of the steps and images: minutes
    python -m benchmarks.claims --out DIR --table               # what is there, as markdown

A claim is that a difference between two settings, or two measures of one, lies in a range: above 0 where the one is
said to be better, above minus the margin where it is said to be level or better. The difference is taken seed by seed;
if its 90 % interval (Student's t over the seeds) is inside the range, the claim holds, if outside, it does not, else it
is not decided. At such lengths a claim that does not hold is one about the beginning of a training.

One process of one thread. What is finished stands in --out, a row each in a CSV file, and is not trained again; the
first seed of all is trained before the second of any.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree
from scipy.special import digamma
from scipy.stats import t as student

import imagesets
import metrics
import study
from benchmarks import laplace_mnist, markdown, vampprior, vsc_mnist
from benchmarks.kept import missing, record, rows
from models.base import VAE
from models.distributions import SpikeSlab
from study.spec import Budget, StudySpec
from study.trial.evaluation import evaluate, evaluating, importance_weighted, probe_accuracies
from study.trial.images import Images, images_of
from study.trial.training import Training

CONFIDENCE = 0.9  # of the interval of a difference
NEIGHBOUR = 3  # whose distance an entropy is estimated from
DRAWS = 20_000  # of a posterior, for its entropy
PROBED = 5000  # images that a probe of codes is fitted on, as in the replication of Variational Sparse Coding


# What is trained.


class Setting(NamedTuple):
    """A training, and what is measured of it besides what an evaluation takes."""

    specification: Callable[[int], StudySpec]  # of so many steps
    steps: int
    samples: int = 0  # draws an image of the importance-weighted log-likelihood; 0 leaves it out
    further: Callable[[VAE, Images, Images], dict[str, float]] = lambda model, train, test: {}


def _laplace(model: str, steps: int) -> StudySpec:
    """Two layers of 100, ten latents: as `laplace_mnist compare`."""
    return laplace_mnist.specification(model, steps=steps, hidden=100, latent=10)


def _prior(prior: str, steps: int) -> StudySpec:
    return vampprior.specification(vampprior.Job("one", prior, 0, steps, 0, 0))


def _codes(model: str, latent: int, steps: int) -> StudySpec:
    """One layer of 400, as the replication; the gate is this project's."""
    own: dict[str, Any] = {"posterior": "gaussian", "prior": "standard", "kl_warmup": 0.0}
    if model == "vsc":
        own = {**vsc_mnist.GATES["sigmoid, straight-through c 10, KL warm-up 0.2"], "alpha": 0.01}
    return vsc_mnist.specification(model, {"latent": latent, "beta": 1.0, **own}, steps)


def _points(contrast: bool, steps: int) -> StudySpec:
    """The preset `avb-points`, with a noise of size 4, of which adaptive contrast has eight: gdikov's."""
    own = ["noises=8", "noise_hidden=[32,32]"] if contrast else []
    pins = [f"adaptive_contrast={str(contrast).lower()}", "noise=4", "discriminator_steps=1", *own]
    length = [f"budget.steps={steps}", f"budget.report_every={steps}", "asha=null"]
    return study.load("avb-points", [*(f"fixed.{pin}" for pin in pins), *length])


def _points_vae(steps: int) -> StudySpec:
    """A Gaussian posterior with the decoder, batch, steps and rate of `_points`."""
    budget = Budget(steps=steps, batch=100, report_every=steps)
    settings = {"latent": 2, "hidden": [64, 64], "init": "glorot", "beta": 1.0, "kl_warmup": 0.0}
    parts = {"posterior": "gaussian", "prior": "standard"}
    fixed = {**settings, **parts, "lr": 1e-3, "lr_drop": 0.75}
    return StudySpec(name="benchmark", model="vae", dataset="points", fixed=fixed, budget=budget)


def probes(model: VAE, train: Images, test: Images) -> dict[str, float]:
    """Accuracies in % of a logistic regression on codes and on mu, and of the replication's probe, which is on mu.

    A spike and slab's mu is that of the slab, whatever its gate; of a Gaussian it is the code.
    """
    assert train.labels is not None
    assert test.labels is not None
    fitted, other = mu(model, train, PROBED), mu(model, test)
    labels, known = train.labels[:PROBED], (other, test.labels)
    [of_codes] = probe_accuracies(model, train, test, PROBED, ["logistic"])
    found = {
        "accuracy": of_codes,
        "accuracy_mu": metrics.accuracy(fitted, labels, test=known),
        "accuracy_sgd": descent_accuracy(fitted, labels, test=known),
    }
    return {name: 100 * value for name, value in found.items()}


def mu(model: VAE, images: Images, first: int | None = None) -> NDArray[np.float32]:
    with evaluating(model, images):
        qs = (model.posterior(x) for x in images.batches(500, first))
        return torch.cat([q.loc if isinstance(q, SpikeSlab) else q.mean for q in qs]).numpy()


def descent_accuracy(codes: NDArray, labels: NDArray, *, test: tuple[NDArray, NDArray]) -> float:
    """The share of labels that a linear layer gets right after 20 epochs of SGD at 0.001, momentum 0.9, batch 32.

    The replication's probe, without the ReLU on its logits. It ends long before it has converged, and sooner the
    smaller the codes are.
    """
    x, y = torch.from_numpy(codes), torch.from_numpy(labels)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = torch.nn.Linear(x.shape[1], int(y.max()) + 1)
        optimiser = torch.optim.SGD(layer.parameters(), lr=1e-3, momentum=0.9)
        for _ in range(20):
            for some in torch.randperm(len(x)).split(32):
                optimiser.zero_grad()
                torch.nn.functional.cross_entropy(layer(x[some]), y[some]).backward()
                optimiser.step()
    with torch.no_grad():
        return float((layer(torch.from_numpy(test[0])).argmax(1).numpy() == test[1]).mean())


def posterior_shape(model: VAE, train: Images, test: Images) -> dict[str, float]:
    """`negentropy` of the posteriors of an image of each label, the mean over them, in nats."""
    assert test.labels is not None
    first = np.unique(test.labels, return_index=True)[1]
    with evaluating(model, test):
        z = model.posterior(torch.cat(list(test.batches(among=torch.from_numpy(first))))).sample(torch.Size([DRAWS]))
    return {"negentropy": statistics.mean(negentropy(of) for of in z.double().numpy().swapaxes(0, 1))}


def negentropy(draws: ArrayLike) -> float:
    """How far a distribution is from Gaussian: its KL from the Gaussian with its moments, in nats.

    The entropy is estimated from the distance to the third neighbour, Kozachenko & Leonenko (1987).

    Args:
        draws: [S, Z], no two the same, in few dimensions.

    Returns:
        0 for a Gaussian, but for an error of about 1 / sqrt(S).
    """
    z = np.asarray(draws, dtype=np.float64)
    count, size = z.shape
    distance = KDTree(z).query(z, NEIGHBOUR + 1)[0][:, -1]  # the nearest is the draw itself
    ball = size / 2 * math.log(math.pi) - math.lgamma(size / 2 + 1)
    entropy = math.log(count - 1) - digamma(NEIGHBOUR) + ball + size * np.log(distance).mean()
    covariance = np.atleast_2d(np.cov(z, rowvar=False))
    return float(0.5 * np.linalg.slogdet(2 * math.pi * math.e * covariance)[1] - entropy)


LAPLACE = ("vae", "vlae", "iaf", "householder")
SETTINGS: dict[str, Setting] = {
    "points, vae": Setting(_points_vae, 4000, 1000, posterior_shape),
    "points, avb": Setting(partial(_points, False), 4000, 1000, posterior_shape),
    "points, avb with adaptive contrast": Setting(partial(_points, True), 4000, 1000, posterior_shape),
    "codes, vae of 24": Setting(partial(_codes, "vae", 24), 4000, 0, probes),
    "codes, vae of 200": Setting(partial(_codes, "vae", 200), 4000, 0, probes),
    "codes, vsc of 8": Setting(partial(_codes, "vsc", 8), 4000, 0, probes),
    "codes, vsc of 200": Setting(partial(_codes, "vsc", 200), 4000, 0, probes),
    "prior, standard": Setting(partial(_prior, "standard"), 500, 200),
    "prior, vamp": Setting(partial(_prior, "vamp"), 500, 200),
    **{f"laplace, {name}": Setting(partial(_laplace, name), 1000, 200) for name in LAPLACE},
}


class Job(NamedTuple):
    """One training, and how many test images its ELBO is taken on."""

    setting: str
    seed: int
    steps: int
    images: int  # log-likelihoods take a twentieth of them, probes the test set


MEASURES = ("log_likelihood", "elbo", "adversarial_elbo", "reconstruction", "negentropy")
PROBES = ("accuracy", "accuracy_mu", "accuracy_sgd")
COLUMNS = (*Job._fields, *MEASURES, *PROBES, "effective_samples", "seconds")


def jobs(settings: Sequence[str], seeds: Sequence[int], quick: bool) -> list[Job]:
    """The trainings, a seed of all settings before the next; quick ones have a tenth of the steps and images."""
    less = 10 if quick else 1
    return [Job(name, seed, SETTINGS[name].steps // less, 10_000 // less) for seed in seeds for name in settings]


def train(job: Job, data: str | None) -> dict[str, Any]:
    """Trains, reads the test set, and returns the row."""
    torch.set_num_threads(1)
    setting = SETTINGS[job.setting]
    spec = setting.specification(job.steps)
    splits = imagesets.load(spec.dataset, data)
    training = Training(spec, spec.fixed, splits, seed=job.seed)
    started = time.process_time()
    training.advance(job.steps)
    seconds = time.process_time() - started
    model, test = training.model, images_of(splits, "test", spec.preprocessing, spec.pairing)
    row = {**job._asdict(), **evaluate(model, test, first=job.images), "seconds": seconds}
    if setting.samples:
        found = importance_weighted(model, test, setting.samples, first=job.images // 20)
        row["log_likelihood"] = float(found.log_likelihood.mean())
        row["effective_samples"] = float(found.effective_samples.mean())
    return {**row, **setting.further(model, training.train_images, test)}


# What is claimed.


class Claim(NamedTuple):
    """That the first number less the second one is in a range, both of them a setting's and a measure."""

    claim: str
    first: tuple[str, str]
    second: tuple[str, str]
    reported: str
    reference: str = ""  # what the reference codes gave where they were run on the same data
    low: float = 0.0
    high: float = math.inf

    def differences(self, found: Sequence[Mapping[str, str]]) -> list[tuple[float, float]]:
        """The two numbers, for each seed that has both."""
        by_seed: list[dict[str, float]] = []
        for setting, measure in (self.first, self.second):
            by_seed.append({row["seed"]: float(row[measure]) for row in found if row["setting"] == setting})
        return [(by_seed[0][seed], by_seed[1][seed]) for seed in by_seed[0] if seed in by_seed[1]]


LEVEL = 5.0  # nats, twice what the authors' Householder flow is behind their VAE
FLAT = 2.0  # percentage points: from latent 24 on the replication's VAE stays within 1.2, but where its probe fails

CLAIMS = (
    Claim(
        "VLAE above VAE, with the same networks (Park et al.)",
        ("laplace, vlae", "log_likelihood"),
        ("laplace, vae", "log_likelihood"),
        "-381.2, -408.5 nats (of logits)",
    ),
    Claim(
        "IAF level with VAE or better (Park et al.)",
        ("laplace, iaf", "log_likelihood"),
        ("laplace, vae", "log_likelihood"),
        "-402.7, -408.5 nats (of logits)",
        low=-LEVEL,
    ),
    Claim(
        "Householder flow level with VAE or better (Park et al.)",
        ("laplace, householder", "log_likelihood"),
        ("laplace, vae", "log_likelihood"),
        "-411.1, -408.5 nats (of logits)",
        low=-LEVEL,
    ),
    Claim(
        "VampPrior above the standard prior (Tomczak & Welling)",
        ("prior, vamp", "log_likelihood"),
        ("prior, standard", "log_likelihood"),
        "-82.43, -84.45 nats",
    ),
    Claim(
        "200 latents: the ELBO of VAE above VSC's at alpha 0.01 (replication)",
        ("codes, vae of 200", "elbo"),
        ("codes, vsc of 200", "elbo"),
        "-106.3, -133.9 nats (relaxed gate)",
        "-114.0, -149.8; -114.6, -147.2 nats (relaxed gate)",
    ),
    Claim(
        "200 latents: VSC's mu classifies better than VAE's, by the replication's probe",
        ("codes, vsc of 200", "accuracy_sgd"),
        ("codes, vae of 200", "accuracy_sgd"),
        "91.8, 86.6 %",
    ),
    Claim(
        "the same, by a logistic regression that has converged",
        ("codes, vsc of 200", "accuracy_mu"),
        ("codes, vae of 200", "accuracy_mu"),
        "",
    ),
    Claim(
        "the same of codes, which are 0 where mu's gate is shut",
        ("codes, vsc of 200", "accuracy"),
        ("codes, vae of 200", "accuracy"),
        "",
    ),
    Claim(
        "VAE: accuracy flat from 24 latents to 200, by the replication's probe",
        ("codes, vae of 200", "accuracy_sgd"),
        ("codes, vae of 24", "accuracy_sgd"),
        "86.6, 86.4 %",
        low=-FLAT,
        high=FLAT,
    ),
    Claim(
        "the same, by a logistic regression that has converged",
        ("codes, vae of 200", "accuracy_mu"),
        ("codes, vae of 24", "accuracy_mu"),
        "",
        low=-FLAT,
        high=FLAT,
    ),
    Claim(
        "VSC: accuracy rises from 8 latents to 200, by the replication's probe",
        ("codes, vsc of 200", "accuracy_sgd"),
        ("codes, vsc of 8", "accuracy_sgd"),
        "91.8, 68.2 %",
    ),
    Claim(
        "AVB above the Gaussian VAE on the four points (Mescheder et al.)",
        ("points, avb", "log_likelihood"),
        ("points, vae", "log_likelihood"),
        "-1.403, -1.568 nats (from memory)",
    ),
    Claim(
        "AVB with adaptive contrast above the Gaussian VAE",
        ("points, avb with adaptive contrast", "log_likelihood"),
        ("points, vae", "log_likelihood"),
        "",
    ),
    Claim(
        "AVB's posteriors of the four points farther from Gaussian than VAE's (Mescheder et al.)",
        ("points, avb", "negentropy"),
        ("points, vae", "negentropy"),
        "pictures",
    ),
)


class Judged(NamedTuple):
    """A mean difference over the seeds, its interval, and what follows for the claim."""

    mean: float
    low: float
    high: float
    verdict: str


def judged(claim: Claim, differences: Sequence[float]) -> Judged:
    """By the interval of the mean difference; fewer than two have none, and decide nothing."""
    mean = statistics.mean(differences)
    if len(differences) < 2:
        return Judged(mean, -math.inf, math.inf, "not decided")
    quantile = float(student.ppf((1 + CONFIDENCE) / 2, len(differences) - 1))
    half = quantile * statistics.stdev(differences) / len(differences) ** 0.5
    low, high = mean - half, mean + half
    if claim.low <= low and high <= claim.high:
        return Judged(mean, low, high, "holds")
    return Judged(mean, low, high, "does not hold" if high < claim.low or low > claim.high else "not decided")


def verdicts(found: Sequence[Mapping[str, str]]) -> str:
    """The claims of whose both settings there are rows, as a table in markdown."""
    lines = []
    for claim in CLAIMS:
        if pairs := claim.differences(found):
            first, second = zip(*pairs)
            digits = 1 if max(map(abs, first)) >= 10 else 3
            at = judged(claim, [one - other for one, other in pairs])
            ours = f"{markdown.spread(first, digits)}, {markdown.spread(second, digits)}"
            difference = f"{at.mean:+.{digits}f}"
            if len(pairs) > 1:
                difference += f" ({at.low:+.{digits}f} to {at.high:+.{digits}f})"
            lines.append([claim.claim, claim.reported, claim.reference, ours, difference, str(len(pairs)), at.verdict])
    heads = ("claim", "reported", "reference code", "ours", "difference", "seeds", "verdict")
    return markdown.table(heads, lines)


def numbers(found: Sequence[Mapping[str, str]]) -> str:
    """What was measured of each setting, as a table in markdown."""
    measures = {
        "log p(x)": "log_likelihood",
        "ELBO": "elbo",
        "adversarial ELBO": "adversarial_elbo",
        "log p(x given z)": "reconstruction",
        "negentropy": "negentropy",
        "of codes, %": "accuracy",
        "of mu, %": "accuracy_mu",
        "by SGD, %": "accuracy_sgd",
    }
    lines = []
    for name in SETTINGS:
        if group := [row for row in found if row["setting"] == name]:
            digits = 3 if name.startswith("points") else 1
            cells = [markdown.spread((row[key] for row in group), digits) for key in measures.values()]
            seconds = markdown.spread((row["seconds"] for row in group), 0)
            lines.append([name, group[0]["steps"], str(len(group)), *cells, seconds])
    return markdown.table(("setting", "steps", "seeds", *measures, "CPU seconds"), lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="root of the data sets")
    parser.add_argument("--out", type=Path, default=Path("claims"), help="folder of what is finished")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only", default="", help="settings that begin so: points, codes, prior, laplace")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true", help="train nothing, print what is there")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    kept = given.out / "claims.csv"
    wanted = jobs([name for name in SETTINGS if name.startswith(given.only)], given.seeds, given.quick)
    for job in missing(kept, wanted) if not given.table else ():
        row = train(job, given.data)
        record(kept, COLUMNS, row)
        said = ", ".join(f"{key} {row[key]:.3f}" for key in (*MEASURES, *PROBES) if key in row)
        print(f"{job.setting}, seed {job.seed}, {job.steps} steps: {said}; {row['seconds']:.0f} s", flush=True)
    done = [row for row in rows(kept) if tuple(row[key] for key in Job._fields) in {tuple(map(str, j)) for j in wanted}]
    print(f"{verdicts(done)}\n\n{numbers(done)}")


if __name__ == "__main__":
    main()
