"""The benchmark of claims: its trainings pin what they compare, measures and verdicts, and nothing is trained twice."""

import math
import sys

import numpy as np
import pytest

import metrics
from benchmarks import claims
from benchmarks.claims import (
    CLAIMS,
    COLUMNS,
    SETTINGS,
    Claim,
    Job,
    descent_accuracy,
    jobs,
    judged,
    negentropy,
    numbers,
    verdicts,
)
from benchmarks.kept import missing, record, rows

BETTER = Claim("one above the other", ("laplace, vlae", "log_likelihood"), ("laplace, vae", "log_likelihood"), "2, 1")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_a_study_of_which_nothing_is_drawn(name):
    spec = SETTINGS[name].specification(40)
    assert spec.steps == spec.report_every == 40
    assert set(spec.distributions()) <= {"steepness_ramp"}  # of a steepness that does not change


def test_every_claim_is_of_settings_and_measures_that_are_there():
    for claim in CLAIMS:
        for setting, measure in (claim.first, claim.second):
            assert setting in SETTINGS
            assert measure in COLUMNS
        assert claim.low < claim.high


@pytest.mark.parametrize(
    ("differences", "low", "high", "verdict"),
    [
        ([2.0, 2.1, 1.9], 0, math.inf, "holds"),
        ([-2.0, -2.1, -1.9], 0, math.inf, "does not hold"),
        ([2.0, 6.0, -2.0], 0, math.inf, "not decided"),
        ([-2.0, -2.1, -1.9], -5, math.inf, "holds"),  # level or better
        ([-2.0, -2.1, -1.9], -3, 3, "holds"),  # flat
        ([4.0, 4.1, 3.9], -3, 3, "does not hold"),
        ([2.0], 0, math.inf, "not decided"),
    ],
)
def test_a_verdict_follows_from_the_interval_of_the_difference(differences, low, high, verdict):
    assert judged(BETTER._replace(low=low, high=high), differences).verdict == verdict


def test_the_interval_is_students():
    found = judged(BETTER, [1.0, 2.0, 3.0])
    half = 2.920 / math.sqrt(3)  # the table's quantile of 0.95 with two degrees of freedom
    assert (found.mean, found.low, found.high) == pytest.approx((2.0, 2 - half, 2 + half), abs=1e-3)


def test_negentropy_of_a_gaussian_is_none_and_of_a_quadrant_what_its_moments_say():
    z = np.random.default_rng(0).normal(size=(20_000, 2))
    assert abs(negentropy(z @ [[2.0, 1.0], [0.0, 0.1]])) < 0.04  # four standard errors of such an estimate
    truth = math.log(4) + math.log(1 - 2 / math.pi)  # a quarter of the plane: half-normal coordinates
    assert negentropy(np.abs(z)) == pytest.approx(truth, abs=0.04)


def test_the_replications_probe_learns_from_large_codes_and_hardly_from_small_ones():
    random = np.random.default_rng(0)
    labels, other = random.integers(10, size=1000), random.integers(10, size=500)
    codes, test = (np.eye(10, dtype=np.float32)[known] for known in (labels, other))
    assert descent_accuracy(4 * codes, labels, test=(4 * test, other)) == 1
    assert metrics.accuracy(codes / 100, labels, test=(test / 100, other)) == 1
    assert descent_accuracy(codes / 100, labels, test=(test / 100, other)) < 0.5


@pytest.fixture
def out(tmp_path):
    """A folder where three seeds of two settings are finished."""
    for job in jobs(["laplace, vae", "laplace, vlae"], [1, 2, 3], quick=False):
        better = 30.0 if job.setting == "laplace, vlae" else 0.0
        numbers = {"log_likelihood": 500.0 + better + job.seed, "elbo": 490.0, "effective_samples": 9.0, "seconds": 7.0}
        record(tmp_path / "claims.csv", COLUMNS, {**job._asdict(), **numbers})
    return tmp_path


def test_the_tables_have_what_was_reported_and_what_came_out(out):
    found = rows(out / "claims.csv")
    head, _, line = verdicts(found).splitlines()
    assert head == "| claim | reported | reference code | ours | difference | seeds | verdict |"
    ours = "532.0 ± 1.0, 502.0 ± 1.0 | +30.0 (+30.0 to +30.0) | 3 | holds |"
    assert line.startswith("| VLAE above VAE")
    assert line.endswith(ours)
    assert "| laplace, vae | 1000 | 3 | 502.0 ± 1.0 | 490.0 ± 0.0 |" in numbers(found)


def test_what_is_finished_is_not_trained_again(out, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["claims", "--out", str(out), "--only", "laplace, v"])
    monkeypatch.setattr(claims, "train", lambda job, data: pytest.fail(f"{job} is finished"))
    claims.main()
    assert capsys.readouterr().out.count("VLAE above VAE") == 1
    quick = jobs(["laplace, vae"], [1], quick=True)
    assert quick == [Job("laplace, vae", 1, 100, 1000)]
    assert missing(out / "claims.csv", quick) == quick
