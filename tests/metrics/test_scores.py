"""What all metrics share: known codes, what they ignore, what is not defined, and the registry.

`SCORED` takes codes and factors to one number; what is fitted is scored on a half of the rows.
"""

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import metrics

VOTES = (300, 150)


def seeded(score: Callable[..., float]) -> Callable[..., float]:
    return lambda codes, factors: score(codes, factors, np.random.default_rng(0), votes=VOTES)


def of_codes(score: Callable[..., float]) -> Callable[..., float]:
    return lambda codes, factors: score(codes)


def seeds(similarity: str) -> Callable[..., float]:
    """UDR of a model and one that agrees with it up to order and sign."""

    def score(codes: Any, factors: Any) -> float:
        z = np.asarray(codes)
        kl = np.ones(z.shape[1])
        return float(metrics.udr([z, -z[:, ::-1]], [kl, kl], similarity=similarity)[0])

    return score


SCORED: dict[str, Callable[..., float]] = {
    "mig": metrics.mig,
    "modularity": metrics.modularity,
    "sap": metrics.sap,
    "continuous sap": lambda codes, factors: metrics.sap(codes, factors, continuous=True),
    "explicitness": metrics.explicitness,
    "dci": lambda codes, factors: float(sum(metrics.dci(codes, factors, trees="lightgbm"))),
    "factor_vae": seeded(metrics.factor_vae),
    "beta_vae": seeded(metrics.beta_vae),
    "logistic": lambda codes, factors: metrics.accuracy(codes, np.asarray(factors)[:, 0]),
    "mlp": lambda codes, factors: metrics.accuracy(codes, np.asarray(factors)[:, 0], classifier="mlp"),
    "total_correlation": of_codes(metrics.total_correlation),
    "wasserstein_correlation": of_codes(metrics.wasserstein_correlation),
    "normalised wasserstein": lambda codes, factors: metrics.wasserstein_correlation(codes, normalise=True),
    "code_information": of_codes(metrics.code_information),
    "udr by lasso": seeds("lasso"),
    "udr by spearman": seeds("spearman"),
    "zero_fraction": of_codes(metrics.zero_fraction),
    "small_fraction": of_codes(metrics.small_fraction),
    "hoyer": of_codes(metrics.hoyer),
    "active_units": of_codes(metrics.active_units),
    "effective_latents": of_codes(metrics.effective_latents),
}
DCI = {
    "disentanglement": lambda codes, factors: metrics.dci(codes, factors, trees="lightgbm").disentanglement,
    "completeness": lambda codes, factors: metrics.dci(codes, factors, trees="lightgbm").completeness,
    "informativeness": lambda codes, factors: metrics.dci(codes, factors, trees="lightgbm").informativeness,
}
SUPERVISED = [name for name in SCORED if name not in list(SCORED)[list(SCORED).index("total_correlation") :]]
NEVER_SCALED = {"sap", "beta_vae", "wasserstein_correlation", "small_fraction", "hoyer", "active_units"}
SCALED_ALIKE = {"normalised wasserstein", "effective_latents"}  # they ignore a scale that all latents share


# Codes about which the answer is known, 3 x 4 x 5 classes. Bounds leave room for a sample of 2000, and no more.

NEAR_1, NEAR_0 = (0.95, 1), (0, 0.05)
HALF = (0.4, 0.6)
KNOWN = {
    "mig": {"perfect": NEAR_1, "useless": NEAR_0, "duplicated": (0, 0), "mixed": (0, 0.3)},
    "modularity": {"perfect": NEAR_1, "duplicated": NEAR_1},
    "sap": {"perfect": (0.3, 0.6), "useless": NEAR_0, "duplicated": (0, 0), "mixed": (0, 0.3)},
    "continuous sap": {"perfect": NEAR_1, "useless": NEAR_0, "duplicated": (0, 1e-12), "mixed": (0, 0.4)},
    "explicitness": {"perfect": NEAR_1, "useless": (0.4, 0.6), "duplicated": NEAR_1, "mixed": NEAR_1},
    "disentanglement": {"perfect": NEAR_1, "useless": (0, 0.1), "duplicated": NEAR_1, "mixed": (0, 0.6)},
    "completeness": {"perfect": NEAR_1, "useless": (0, 0.1), "duplicated": (0.55, 0.68), "mixed": (0, 0.6)},
    "informativeness": {"perfect": NEAR_1, "useless": (0.15, 0.35), "duplicated": NEAR_1, "mixed": (0.8, 1)},
    "factor_vae": {"perfect": NEAR_1, "useless": (0.2, 0.45), "duplicated": NEAR_1, "mixed": (0.6, 1)},
    "beta_vae": {"perfect": NEAR_1, "useless": (0.2, 0.45), "duplicated": NEAR_1, "mixed": (0.8, 1)},
    "logistic": {"perfect": NEAR_1, "useless": (0.25, 0.42), "duplicated": NEAR_1, "mixed": NEAR_1},
    "mlp": {"perfect": NEAR_1, "useless": (0.25, 0.42), "duplicated": NEAR_1, "mixed": NEAR_1},
    "total_correlation": {"perfect": NEAR_0, "useless": NEAR_0, "duplicated": (math.inf, math.inf)},
    "normalised wasserstein": {"perfect": NEAR_0, "useless": NEAR_0, "duplicated": (0.5, 0.65)},  # 2 - sqrt(2)
    "code_information": {"perfect": NEAR_0, "useless": (0.05, 0.15), "duplicated": (0.2, 0.4)},
}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kinds in KNOWN.items() for kind in kinds])
def test_codes_about_which_the_answer_is_known(name, kind, drawn):
    low, high = KNOWN[name][kind]
    score = (SCORED | DCI)[name]
    assert low <= score(*drawn(kind, 2000)) <= high


# What a metric ignores.


@pytest.mark.parametrize("name", SCORED)
def test_the_order_of_the_latents_is_ignored(name, drawn):
    codes, factors = drawn("mixed", 300)
    moved = codes[:, [3, 0, 5, 1, 4, 2]]
    tolerance = {"mlp": 0.1, "dci": 0.03}.get(name, 1e-6)  # of which another order is another start
    assert SCORED[name](moved, factors) == pytest.approx(SCORED[name](codes, factors), abs=tolerance)


@pytest.mark.parametrize("name", sorted(SCORED.keys() - NEVER_SCALED))
def test_the_scale_of_the_latents_is_ignored(name, drawn):
    codes, factors = drawn("mixed", 300)
    by = 8.0 if name in SCALED_ALIKE else 2.0 ** np.arange(1, 7)  # exact, so that no code changes its bin
    assert SCORED[name](codes * by, factors) == pytest.approx(SCORED[name](codes, factors), abs=1e-6)


@pytest.mark.parametrize("name", SUPERVISED)
def test_the_names_and_types_of_the_classes_are_ignored(name, drawn):
    codes, factors = drawn("mixed", 300)
    score = SCORED[name](codes, factors)
    assert SCORED[name](codes, (factors + 7) * 10**12) == pytest.approx(score, abs=1e-9)
    assert SCORED[name](codes, factors.astype(np.float32)) == pytest.approx(score, abs=1e-9)
    assert SCORED[name](codes.tolist(), factors.tolist()) == pytest.approx(score, abs=1e-9)


@pytest.mark.parametrize("name", SUPERVISED)
def test_a_factor_of_one_class_is_left_out(name, drawn):
    codes, factors = drawn("mixed", 200)
    with_colour = np.c_[factors, np.full(200, 3)]
    assert SCORED[name](codes, with_colour) == pytest.approx(SCORED[name](codes, factors), abs=1e-9)


# What is not defined, and what has to be something all the same.


@pytest.mark.parametrize("name", SCORED)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, np.float32(np.nan)])
def test_codes_that_are_not_finite_have_no_score(name, value, drawn):
    codes, factors = drawn("mixed", 60)
    codes[7, 2] = value
    assert math.isnan(SCORED[name](codes.astype(np.asarray(value).dtype), factors))


@pytest.mark.parametrize("name", SUPERVISED)
def test_factors_of_one_class_have_no_score(name, drawn):
    codes, factors = drawn("mixed", 60)
    assert math.isnan(SCORED[name](codes, 0 * factors))


@pytest.mark.parametrize(
    ("name", "score"),
    [
        *[("mig", 0), ("modularity", 0), ("sap", 0), ("continuous sap", 0), ("explicitness", 0.5), ("factor_vae", 0)],
        *[("total_correlation", 0), ("wasserstein_correlation", 0)],
        *[("normalised wasserstein", math.nan), ("code_information", 0), ("udr by lasso", 0), ("udr by spearman", 0)],
    ],
)
@pytest.mark.parametrize("value", [0.0, 0.1, 1e30])
def test_constant_codes(name, score, value, drawn):
    _, factors = drawn("mixed", 60)
    assert SCORED[name](np.full((60, 3), value), factors) == pytest.approx(score, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("name", ["dci", "logistic", "mlp", "beta_vae"])
def test_constant_codes_are_classified_by_frequency(name, drawn):
    _, factors = drawn("mixed", 200)  # and disentanglement and completeness are 0
    assert 0.1 < SCORED[name](np.full((200, 3), 0.1), factors) < 0.55


NO_PAIR = {"dci", "code_information", "hoyer"}  # of DCI, the completeness


@pytest.mark.parametrize("name", SCORED)
def test_a_single_latent(name, drawn):
    codes, factors = drawn("perfect", 200)
    found = SCORED[name](codes[:, :1], factors)
    assert math.isnan(found) if name in NO_PAIR else 0 <= found < 200


def test_a_single_latent_is_compared_with_one_that_knows_nothing(drawn):
    codes, factors = drawn("perfect", 200)
    alone, beside = codes[:, :1], np.c_[codes[:, 0], np.zeros(200)]
    for name in ("mig", "sap", "continuous sap"):
        assert SCORED[name](alone, factors) == SCORED[name](beside, factors) > 0


def test_a_single_factor_is_confused_with_no_other(drawn):
    codes, factors = drawn("perfect", 200)
    assert math.isnan(metrics.modularity(codes, factors[:, :1]))
    assert math.isnan(metrics.dci(codes, factors[:, :1], trees="lightgbm").disentanglement)
    assert math.isnan(metrics.dci(codes[:, :1], factors, trees="lightgbm").completeness)


@pytest.mark.parametrize("trees", ["scikit-learn", "lightgbm"])
def test_either_trees_take_what_is_degenerate(trees, drawn):
    codes, factors = drawn("mixed", 40, sizes=(2, 2))

    def dci(z: Any, y: Any) -> list[float]:
        return list(metrics.dci(z, y, trees=trees))

    assert np.isnan(dci(np.where(codes > 1, np.nan, codes), factors)).all()
    assert np.isnan(dci(codes, 0 * factors)).all()
    assert dci(np.full_like(codes, 0.1), factors)[:2] == [0, 0]
    assert np.isnan(dci(codes[:, :1], factors)).tolist() == [False, True, False]
    assert np.isnan(dci(codes, factors[:, :1])).tolist() == [True, False, False]
    for scale in (1e-300, 1e30):
        assert dci(scale * codes, factors) == pytest.approx(dci(codes, factors), abs=1e-6)


@pytest.mark.parametrize("name", ["factor_vae", "beta_vae"])
def test_a_single_factor_is_always_the_one_that_was_fixed(name, drawn):
    codes, factors = drawn("perfect", 200)
    assert SCORED[name](codes, factors[:, :1]) == 1


@pytest.mark.parametrize(("name", "dead_by_definition"), [("mig", 1e-12), ("continuous sap", 1e-12), ("factor_vae", 0)])
def test_dead_latents_change_nothing(name, dead_by_definition, drawn):
    codes, factors = drawn("perfect", 500)
    dead = np.full((500, 2), 0.3)
    assert SCORED[name](np.c_[codes, dead], factors) == pytest.approx(
        SCORED[name](codes, factors), abs=dead_by_definition
    )


def test_dead_latents_lower_modularity(drawn):
    codes, factors = drawn("perfect", 2000)
    assert metrics.modularity(np.c_[codes, np.zeros_like(codes)], factors) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("name", SCORED)
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_few_images_have_a_score_or_none(name, rows):
    codes, factors = np.array([[0.1, 2], [3, -1], [2, 2]])[:rows], np.array([[0, 0], [1, 1], [0, 1]])[:rows]
    assert isinstance(SCORED[name](codes, factors), int | float)


@pytest.mark.parametrize("name", SUPERVISED)
@pytest.mark.parametrize("factor", [1e-300, 1e-20, 1e30])
def test_extreme_scales_have_a_score(name, factor, drawn):
    codes, factors = drawn("mixed", 100)
    found = SCORED[name](factor * codes, factors)
    assert 0 <= found <= 3
    if name not in NEVER_SCALED | {"factor_vae", "continuous sap"}:  # the first and the last know a smallest variance
        assert found == pytest.approx(SCORED[name](codes, factors), abs=0.05)


# What is refused.


@pytest.mark.parametrize("name", [name for name in SUPERVISED if name not in ("logistic", "mlp")])
@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        ([1.0, 2.0], [[0], [1]], r"codes must be \[N, Z\], neither of them 0, but has shape \[2\]"),
        ([[1.0], [2.0]], [0, 1], r"factors must be \[N, K\], neither of them 0, but has shape \[2\]"),
        ([[1.0], [2.0]], [[0], [1], [1]], "codes and factors must be of the same images, but are of 2 and 3"),
        ([[1.0], [2.0]], [[0.5], [1]], "factors must be classes, which are whole numbers, but hold fractions"),
        ([[1.0], [2.0]], [[np.nan], [1]], "factors must be finite"),
        ([["a"], ["b"]], [[0], [1]], "codes must hold real numbers"),
    ],
)
def test_what_is_wrong_is_said(name, codes, factors, message):
    with pytest.raises(ValueError, match=message):
        SCORED[name](codes, factors)


@pytest.mark.parametrize("score", [metrics.sap, metrics.explicitness, metrics.dci])
def test_a_test_of_other_latents_is_refused(score, drawn):
    codes, factors = drawn("perfect", 60)
    with pytest.raises(ValueError, match=r"test must have the latents and factors .*, 3 and 3, but has 2 and 3"):
        score(codes, factors, test=(codes[:, :2], factors))
    with pytest.raises(ValueError, match=r"test factors must be \[N, K\]"):
        score(codes, factors, test=(codes, factors[:, 0]))


@pytest.mark.parametrize("score", [metrics.factor_vae, metrics.beta_vae])
def test_no_votes_are_refused(score, drawn):
    for votes in (0, (10, 0), (0, 10)):
        with pytest.raises(ValueError, match="votes must be at least 1 to train and 1 to evaluate"):
            score(*drawn("perfect", 60), np.random.default_rng(0), votes=votes)


# Chance.


@pytest.mark.parametrize("score", [metrics.factor_vae, metrics.beta_vae])
def test_votes_follow_the_generator(score, drawn):
    codes, factors = drawn("mixed", 500, sizes=(3, 3, 3, 3, 3))
    found = [score(codes, factors, np.random.default_rng(seed), votes=VOTES) for seed in (0, 0, 1, 2, 3)]
    assert found[0] == found[1]
    assert len(set(found)) > 1


@pytest.mark.parametrize("score", [metrics.sap, metrics.explicitness])
def test_halves_follow_the_generator(score, drawn):
    codes, factors = drawn("mixed", 200)
    found = [score(codes, factors, generator=np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert score(codes, factors) == found[0]


def test_dci_follows_the_generator(drawn):
    codes, factors = drawn("duplicated", 40, sizes=(2, 2))
    found = [metrics.dci(codes, factors, generator=np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert metrics.dci(codes, factors) == found[0]


@pytest.mark.parametrize("name", SCORED)
def test_nothing_that_is_given_changes(name, drawn):
    codes, factors = drawn("mixed", 60)
    before = codes.copy(), factors.copy()
    SCORED[name](codes, factors)
    np.testing.assert_array_equal(codes, before[0])
    np.testing.assert_array_equal(factors, before[1])


# The registry.


def test_the_registry_is_the_folder():
    found = metrics.scores()
    assert {"mig", "dci", "factor_vae", "hoyer", "log_likelihood", "udr", "accuracy"} <= found.keys()
    for name, score in found.items():
        assert score.name == name
        assert score.version >= 1
        assert score.range[0] < score.range[1]
        assert score.seconds > 0
        assert score.function.__doc__


def test_what_is_offered_by_name_is_what_is_registered():
    for name, score in metrics.scores().items():
        assert getattr(metrics, name) is score.function


@pytest.mark.parametrize("kind", ["perfect", "useless", "duplicated", "mixed"])
def test_scores_are_in_their_range(kind, drawn):
    codes, factors = drawn(kind, 200)
    for name, score in metrics.scores().items():
        if score.needs in (("codes",), ("codes", "factors")) and name != "dci":
            given = (codes, factors)[: len(score.needs)]
            found = score.function(*given, *[np.random.default_rng(0)] * score.stochastic)
            assert score.range[0] <= found <= score.range[1], name


def test_the_page_names_every_metric_and_its_example_runs():
    page = Path(metrics.__file__).with_name("README.md").read_text(encoding="utf-8")
    for name in metrics.scores():
        assert f"`{name}`" in page
    example = page.split("```python\n")[1].split("```")[0]
    lines = [line.partition("  # ") for line in example.splitlines()]
    values = {"np": np, "metrics": metrics}
    for line, _, said in lines:
        exec(f"found = {line}" if said else line, values)
        if said:
            assert str(np.round(values["found"], 2).tolist()) == said


def test_a_metric_costs_no_import_until_it_is_asked_for():
    heavy = "sklearn", "lightgbm", "scipy", "torch", "pandas"
    code = f"import sys, metrics; metrics.scores(); print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
