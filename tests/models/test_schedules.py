"""Schedules at their ends, and the same for every kind of step."""

import pytest
import torch

from models.schedules import linear


def test_linear_runs_from_start_to_stop_and_stays():
    schedule = linear(50.0, 200.0, 0.4)
    assert [float(schedule(step, 50_000)) for step in (0, 5_000, 20_000, 10**6)] == [50.0, 87.5, 200.0, 200.0]


def test_linear_may_fall():
    schedule = linear(1.0, 0.25, 0.5)
    assert [float(schedule(step, 6)) for step in (0, 1, 2, 3, 4)] == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.25])


@pytest.mark.parametrize("schedule", [linear(0.0, 4.0, 0), linear(4.0, 4.0, 1.0)])
def test_linear_without_a_way_to_go_is_constant(schedule):
    assert [schedule(0, 100), schedule(1, 100), schedule(torch.tensor(50), 100)] == [4.0, 4.0, 4.0]


def test_steps_may_be_tensors_and_long():
    schedule = linear(0.0, 1.0, 1.0)  # float32 would miss single steps here
    for step in (0, 1, 16_777_217, 29_999_999, 30_000_000):
        assert float(schedule(torch.tensor(step), 30_000_000)) == float(schedule(step, 30_000_000)) == step / 3e7


def test_a_scheduled_number_does_not_change_the_precision_of_a_network():
    assert (linear(0.0, 1.0, 1.0)(3, 10) * torch.ones(2, dtype=torch.float32)).dtype == torch.float32
