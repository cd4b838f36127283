"""The conjoint models' benchmark: its jobs, its probe, its tables, and that what is finished is not trained again."""

import sys

import numpy as np
import pytest

import searchspaces
from benchmarks import conjoint
from benchmarks.conjoint import COLUMNS, COMMON, KINDS, PAIRINGS, Job, jobs, nearest, specification, table
from benchmarks.kept import record, rows


def test_points_have_a_training_a_seed_and_digits_one():
    found = jobs(["points", "digits"], [1, 2, 3], quick=False)
    assert len(found) == len(set(found)) == 3 * 4 + 4
    assert {job.seed for job in found if job.data == "digits"} == {1}
    quick = jobs(["points"], [1, 2, 3], quick=True)
    assert [job.steps for job in quick] == [400, 600, 400, 600]


def test_each_is_a_specification_that_pins_what_the_space_draws():
    for job in jobs(["points", "digits"], [1], quick=False):
        spec = specification(job)
        assert spec.fixed["posterior"] == job.kind
        assert set(searchspaces.defaults("conjoint")) - {"kl_warmup"} <= set(COMMON)
        assert spec.pairing == job.pairing


def test_the_probe_takes_the_word_of_most_neighbours():
    codes = np.repeat(np.array([[0.0, 0.0], [5.0, 5.0]]), 20, axis=0) + np.linspace(0, 0.1, 40)[:, None]
    known = np.repeat([3, 7], 20)
    known[[0, 25]] = 9  # two that are wrong
    assert nearest(codes, known, np.array([[0.0, 0.1], [5.0, 4.9]])).tolist() == [3, 7]


@pytest.fixture
def out(tmp_path):
    """A folder where all trainings on points are finished."""
    for job in jobs(["points"], [1, 2, 3], quick=False):
        row = {**job._asdict(), "log_likelihood": -4.0 - job.seed, "gap": job.seed, "elbo": "", "seconds": 7.0}
        record(tmp_path / "points.csv", COLUMNS["points"], {**row, "effective_samples": 100.0})
    return tmp_path


def test_the_table_has_a_line_a_kind_and_pairing_with_the_spread_over_seeds(out):
    lines = table(rows(out / "points.csv"), "points").splitlines()
    assert len(lines) == 2 + len(KINDS) * len(PAIRINGS)
    assert "| gaussian | index | 3 | -6.00 ± 1.00 | 2.00 ± 1.00 |  |  | 100.0 ± 0.0 | 7 ± 0 |" in lines


def test_what_is_finished_is_not_trained_again(out, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["conjoint", "points", "--out", str(out)])
    monkeypatch.setattr(conjoint, "train", lambda job, data: pytest.fail(f"{job} is finished"))
    conjoint.main()
    assert capsys.readouterr().out.count("| adversarial | targets | 3 |") == 1
    assert Job._fields == COLUMNS["points"][:5]
