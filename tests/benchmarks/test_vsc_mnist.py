"""What the benchmarks compare does not move with the models' defaults."""

import pytest

import searchspaces
from benchmarks.vsc_mnist import GATES, PARITY, REPLICATION

VARIANTS = {**GATES, **{name: run.config for name, run in PARITY.items() if run.model == "vsc"}}
PINNED = {key for key in searchspaces.defaults("vsc") if key.startswith(("gamma", "gate", "steepness", "kl_"))}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_pins_all_that_its_table_varies(name):
    assert PINNED - {"steepness_ramp"} <= set(VARIANTS[name])  # the ramp is the paper's in all of them


def test_the_replication_has_no_annealing():
    assert REPLICATION["steepness"] == REPLICATION["steepness_final"]
    assert REPLICATION["kl_warmup"] == 0
