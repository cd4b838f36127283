"""The VampPrior's benchmark: what is finished stands in its table and is not trained again, and its time is kept."""

import json

import pytest

import models
import searchspaces
from benchmarks import vampprior
from benchmarks.vampprior import LEVELS, PSEUDO, Job, table

JOBS = [Job(levels, prior, seed, 10, 5, 5) for levels in LEVELS for seed in (1, 2) for prior in vampprior.PRIORS]


@pytest.fixture
def out(tmp_path):
    """A folder where all is finished but the VampPrior's second seed on two levels."""
    for job in JOBS[:-1]:
        number = -100.0 + job.seed + (3.0 if job.prior == "vamp" else 0.0)
        row = {**job._asdict(), "log_likelihood": number, "elbo": number - 1, "kl": 20.0, "active_units": 9.0}
        row |= {"seconds": 7.0} | ({"kl_z1": 4.0, "kl_z2": 16.0} if job.levels == "two" else {})
        job.file(tmp_path).write_text(json.dumps(row), encoding="utf-8")
    return tmp_path


def test_the_table_has_a_line_a_model_with_the_spread_over_seeds(out):
    text = table(JOBS, out)
    assert "| one | standard | 2 | -98.50 ± 0.71 | -99.50 ± 0.71 | 20.00 ± 0.00 |  | 9.00 ± 0.00 | 7 ± 0 |" in text
    assert "| two | vamp | 1 | -96.00 | -97.00 | 20.00 | 4.00, 16.00 | 9.00 | 7 |" in text
    assert "one: the VampPrior's gain in log p(x) is +3.00 nats (+3.00, +3.00)." in text
    assert "two: the VampPrior's gain in log p(x) is +3.00 nats (+3.00)." in text


def test_nothing_is_trained_when_the_time_is_over(out, capsys):
    before = sorted(path.name for path in out.iterdir())
    vampprior.run(JOBS, None, out, minutes=-1)
    assert sorted(path.name for path in out.iterdir()) == before
    assert "1 trainings are left for the next call" in capsys.readouterr().out


@pytest.mark.parametrize("job", JOBS[:2] + JOBS[4:6], ids=lambda job: f"{job.levels}-{job.prior}")
def test_a_training_is_a_study_that_pins_all_that_a_default_could_move(job):
    spec = vampprior.specification(job)
    neutral = {"free_bits", "top", "network_size", "activation"}  # at their neutral values
    of_vamp = set(PSEUDO) if job.prior == "standard" else set()
    assert set(searchspaces.defaults(spec.model)) - neutral - of_vamp <= set(spec.fixed)
    assert models.hyperparameters(spec.model).keys() >= set(PSEUDO) - {"lr_pseudo_inputs"}
