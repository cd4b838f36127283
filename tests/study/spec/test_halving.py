"""Successive halving by hand, and against Ray's, which decided in earlier releases."""

import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from study.spec.halving import Promotion, Stopping, cutoff, expected


@pytest.mark.parametrize("seed", range(3))
def test_a_cutoff_is_numpys_percentile_to_the_last_digit(seed):
    numbers = random.Random(seed)
    for _ in range(300):
        values = [numbers.gauss(-130, 10) for _ in range(numbers.randint(1, 70))]
        if numbers.random() < 0.2:
            values = [float(round(value)) for value in values]  # with ties
        reduction = numbers.randint(2, 9)
        assert cutoff(sorted(values), reduction) == np.nanpercentile(values, (1 - 1 / reduction) * 100)
    assert cutoff([], 3) is None


@pytest.mark.parametrize(("grace", "reduction", "budget"), [(10, 2, 100), (10, 3, 90), (20, 4, 1000), (1, 10, 1000)])
def test_it_stops_whom_ray_stops(grace, reduction, budget):
    """Of forty trials that report in random order, every 10 steps; some skip reports, so that they jump over rungs."""
    numbers = random.Random(budget)
    rungs = [grace * reduction**k for k in range(20) if grace * reduction**k < budget]
    ours = Stopping(rungs, reduction)
    rays = AsyncHyperBandScheduler("steps", "elbo", "max", budget, grace, reduction)
    named = {number: SimpleNamespace(trial_id=number) for number in range(40)}
    for trial in named.values():
        rays.on_trial_add(None, trial)
    running, steps, stopped = list(named), dict.fromkeys(named, 0), 0
    while running:
        number = numbers.choice(running)
        steps[number] += 10 * numbers.choice((1, 1, 1, 3))
        if steps[number] >= budget:
            running.remove(number)
            continue
        value = numbers.gauss(number / 20, 1)
        given = {"steps": steps[number], "elbo": value}
        goes_on = ours.goes_on(number, steps[number], value)
        assert goes_on == (rays.on_trial_result(None, named[number], given) == TrialScheduler.CONTINUE)
        if not goes_on:
            running.remove(number)
            stopped += 1
    assert stopped > 10


def test_who_is_among_the_best_of_a_rung_is_promoted_from_the_highest_first():
    """Algorithm 2 of Li et al. with a reduction of 2: one of two goes on, once."""
    halving = Promotion([10, 20], 2)
    assert halving.promoted() is None
    assert not halving.goes_on(0, 10, 1.0)  # everybody pauses at a rung
    assert halving.promoted() is None  # half of one is none
    assert not halving.goes_on(1, 10, 3.0)
    assert halving.promoted() == 1
    assert halving.promoted() is None
    assert halving.goes_on(1, 15, -9.0)  # between rungs nobody looks
    assert not halving.goes_on(2, 10, 5.0)
    assert not halving.goes_on(3, 10, 4.0)  # 5, 4, 3, 1: the best two are 2 and 3, though 1 went on before
    assert not halving.goes_on(1, 20, 6.0)
    assert [halving.promoted() for _ in range(3)] == [2, 3, None]
    assert not halving.goes_on(2, 20, 7.0)
    assert not halving.goes_on(4, 10, 9.0)
    assert not halving.goes_on(5, 10, 0.0)
    assert [halving.promoted() for _ in range(3)] == [2, 4, None]  # 2 of the upper rung; then 9, 5 and 4 of the lower
    assert halving.goes_on(2, 40, 1.0)  # the end of its budget is no rung


@pytest.mark.parametrize(("reduction", "most"), [(2, 19), (3, 13), (4, 10)])
def test_of_trials_that_get_better_and_better_not_all_go_on(reduction, most):
    """As those of a sampler that learns do, each of which is the best when it gets to the rung."""
    halving, promoted = Promotion([10], reduction), []
    for number in range(24):
        assert not halving.goes_on(number, 10, float(number))
        while (best := halving.promoted()) is not None:
            promoted.append(best)
    assert len(promoted) == most  # 24 / reduction, half of that, and one; by rank alone 24 - reduction + 1 did


def test_a_place_that_nobody_good_enough_wanted_is_kept_for_those_who_are():
    halving = Promotion([10], 3)
    for number in range(12):
        halving.goes_on(number, 10, -float(number))
    assert [halving.promoted() for _ in range(5)] == [0, 1, 2, 3, None]  # the best third
    for number in range(12, 18):
        halving.goes_on(number, 10, float(number))
    # of 18 trials the best six are the new ones; ten may have gone on, and four have
    assert [halving.promoted() for _ in range(7)] == [17, 16, 15, 14, 13, 12, None]
    for number in range(18, 21):
        halving.goes_on(number, 10, float(number))
    assert [halving.promoted() for _ in range(2)] == [20, None]  # of 21 it is eleven


def test_a_slow_starter_is_promoted_when_it_turns_out_to_be_among_the_best():
    stopping, promotion = Stopping([10], 3), Promotion([10], 3)
    for number, value in enumerate((5.0, 4.0, 3.0, 2.0, 1.0, 0.0)):
        assert stopping.goes_on(number, 10, value) == (number == 0)
        assert not promotion.goes_on(number, 10, value)
    assert [promotion.promoted() for _ in range(3)] == [0, 1, None]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_goes_on_where_others_are_stopped_and_is_never_promoted(value):
    stopping, promotion = Stopping([10], 2), Promotion([10], 2)
    for number, given in enumerate((value, 1.0, 2.0)):
        stopping.goes_on(number, 10, given)
        assert not promotion.goes_on(number, 10, given)
    assert stopping.rungs == promotion.rungs == [(10, {1: 1.0, 2: 2.0})]
    assert stopping.goes_on(0, 10, value)
    assert [promotion.promoted() for _ in range(2)] == [2, None]


def test_the_best_of_the_highest_rung_finish_where_too_few_are_complete():
    """Of those that were stopped as many pause as may be wanted; under promotion all do."""
    stopping, promotion = Stopping([10, 20], 2, complete=2), Promotion([10, 20], 2, complete=2)
    for rule in (stopping, promotion):
        for number, value in enumerate((9.0, 1.0, 3.0, 2.5)):
            rule.goes_on(number, 10, value)
    assert stopping.paused == {2: (10, 3.0), 3: (10, 2.5)}  # 1 was displaced
    assert [promotion.promoted() for _ in range(3)] == [0, 2, None]
    assert [rule.goes_on(0, 20, 8.0) for rule in (stopping, promotion)] == [True, False]
    assert stopping.finishing() == 2
    assert not promotion.goes_on(2, 20, 7.0)
    assert promotion.promoted() == 0
    promotion.end(0, complete=True)
    assert [promotion.finishing(), promotion.finishing()] == [2, None]  # of the upper rung; 3 waits whether 2 ends well
    assert promotion.goes_on(2, 20, 7.0)
    promotion.end(2)  # it failed
    assert [promotion.finishing(), promotion.finishing()] == [3, None]
    assert promotion.goes_on(3, 20, -9.0)  # it pauses nowhere on its way to the end
    stopping.end(0, complete=True)
    assert stopping.goes_on(2, 20, -9.0)
    assert stopping.finishing() is None
    stopping.end(2, complete=True)
    assert stopping.paused == {}  # enough are complete


@pytest.mark.parametrize("rule", [Stopping, Promotion])
@pytest.mark.parametrize("seed", range(3))
def test_a_rule_that_is_filled_again_decides_as_before(rule, seed):
    """Its reports in another order, then who pauses."""
    numbers = random.Random(seed)
    made = {number: numbers.gauss(0, 1) for number in range(20)}
    first, again = rule([10], 3, 4), rule([10], 3, 4)
    for number, value in made.items():
        first.goes_on(number, 10, value)
    gone = [first.promoted(), first.promoted(), first.finishing()]
    paused = sorted(first.paused)
    for number in reversed(made):
        again.record(number, 10, made[number])
    for number in paused:
        again.pause(number, 10)
    again.whole |= first.whole
    for promoted in gone[:2]:
        if promoted is not None:
            again.went_on(10)
    assert again.paused == first.paused
    assert len(gone) == 3
    assert [again.promoted() for _ in range(9)] == [first.promoted() for _ in range(9)]
    assert [again.finishing() for _ in range(9)] == [first.finishing() for _ in range(9)]
    assert [again.goes_on(number, 10, 0.5) for number in (0, 99)] == [first.goes_on(n, 10, 0.5) for n in (0, 99)]


def test_what_a_search_is_expected_to_take():
    """Of two trials in random order the second goes on if it is better: 10 + (10 or 5) of 20 steps."""
    share, low, high = expected([5], 2, 10, 2)
    assert (low, high) == (0.75, 1.0)
    assert share == pytest.approx(0.875, abs=0.03)  # 0.25 * sqrt(0.25 / 200) is 0.009
    assert expected([5], 2, 10, 1) == (1, 1, 1)
    few, many, most = (expected([200, 600], 3, 1200, trials) for trials in (8, 64, 10**6))
    assert few.share > many.share > most.share
    assert many.high - many.low < few.high - few.low
    assert most.share == pytest.approx(
        (200 * 2 / 3 + 600 * 2 / 9 + 1200 / 9) / 1200, abs=0.01
    )  # a third, and of it one


def test_what_a_search_that_promotes_is_expected_to_take():
    """Of two the better goes on once both are at the rung: 5 + 5 + 5 of 20 steps; one alone does only if it must."""
    assert expected([5], 2, 10, 2, "promote") == (0.75, 0.75, 0.75)
    assert expected([5], 2, 10, 2, "promote", complete=2) == (1, 1, 1)
    assert expected([5], 3, 10, 1, "promote") == (0.5, 0.5, 0.5)
    assert expected([5], 3, 10, 1, "promote", complete=1) == (1, 1, 1)
    few = [
        expected([200, 600], 3, 1200, 16, mode, complete).share for mode in ("stop", "promote") for complete in (0, 6)
    ]
    assert few[2] < few[0]
    assert few[2] < few[3]
    assert few[0] < few[1]
