"""ASHA's rungs refilled from stored reports are those of the run that was interrupted."""

import math
import random
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState

from study.spec import StudySpec
from study.tune.scheduler import Asha

STOP, GO_ON = "STOP", "CONTINUE"


@pytest.fixture
def spec(raw) -> StudySpec:
    """Rungs 10, 30 and 90 of a budget of 100 steps."""
    return StudySpec(**raw(asha={"grace": 10, "reduction": 3}, budget={"steps": 100, "report_every": 10}))


def ray_trial(number: int, trial_id: str | None = None):
    return SimpleNamespace(trial_id=trial_id or f"id{number}", config={"number": number})


def stored(number: int, values: dict[int, float], state: TrialState = TrialState.RUNNING):
    """A trial as the storage has it; what is not finite is kept as None."""
    kept = {f"report:{s}": {"elbo": v if math.isfinite(v) else None} for s, v in values.items()}
    trial = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs=kept)
    trial.number, trial.state = number, state
    return trial


def feed(asha: Asha, trial, step: int, value: float) -> str:
    """Gives a report as Ray Tune does: the one at the full budget is the trial's end."""
    if step >= 100:
        asha.on_trial_complete(None, trial, {"steps": step, "elbo": value})
        return STOP
    return asha.on_trial_result(None, trial, {"steps": step, "elbo": value})


def live(spec: StudySpec, trials: int, seed: int, nan_share: float = 0.0):
    """An undisturbed search in random order: the scheduler, and the reports that each trial made."""
    asha, numbers = Asha(spec), random.Random(seed)
    ray_trials = {n: ray_trial(n) for n in range(trials)}
    reports: dict[int, dict[int, float]] = {n: {} for n in ray_trials}
    for trial in ray_trials.values():
        asha.on_trial_add(None, trial)
    running = list(ray_trials)
    while running:
        number = numbers.choice(running)
        step = 10 * (len(reports[number]) + 1)
        value = math.nan if numbers.random() < nan_share else numbers.gauss(0, 1)
        reports[number][step] = value
        if feed(asha, ray_trials[number], step, value) == STOP or math.isnan(value):
            running.remove(number)
    return asha, reports


def values(asha: Asha) -> dict[int, list[float]]:
    return {steps: sorted(recorded.values()) for steps, recorded in asha.rungs}


@pytest.mark.parametrize("seed", range(10))
def test_refilled_rungs_equal_live_ones(spec, seed):
    asha, reports = live(spec, trials=25, seed=seed, nan_share=0.02)
    other = Asha(spec)
    for number, made in reports.items():
        other.refill(stored(number, made))
    assert values(other) == values(asha)
    assert other.cutoffs() == asha.cutoffs()
    assert len(values(asha)[10]) > 20
    assert all(math.isfinite(value) for recorded in values(other).values() for value in recorded)


BACK = 10  # steps that a trial goes back to its older checkpoint
CHECKPOINTS = ("last", "previous", "none")


@pytest.mark.parametrize("left", CHECKPOINTS)
@pytest.mark.parametrize("seed", range(5))
def test_a_search_that_goes_on_decides_as_one_that_was_not_interrupted(spec, seed, left):
    """Ten trials end, the process dies, the others go on under new ids, from before, at and behind the rungs.

    A trial repeats the report of its checkpoint, and those that it makes again after an older one.
    """
    asha, numbers = Asha(spec), random.Random(seed)
    made = {n: {10 * k: numbers.gauss(n / 5, 1) for k in range(1, 11)} for n in range(26)}
    done: dict[int, dict[int, float]] = {}
    ended = set()
    for n in made:
        asha.on_trial_add(None, ray_trial(n))
        done[n] = {}
        for step, value in list(made[n].items())[: 10 if n < 10 else (1, 2, 3, 4, 5, 7, 9, 0)[n % 8]]:
            done[n][step] = value
            if feed(asha, ray_trial(n), step, value) == STOP:
                ended.add(n)
                break
    going_on = sorted(set(made) - ended)
    assert ended
    assert {0, 10, 20, 30} < {max(done[n], default=0) for n in going_on}
    before, cutoffs = values(asha), asha.cutoffs()

    other = Asha(spec)
    for n in made:
        other.refill(stored(n, done[n]))
    assert (values(other), other.cutoffs()) == (before, cutoffs)
    for n in going_on:
        other.on_trial_add(None, ray_trial(n, f"new{n}"))
        last = max(done[n], default=0)
        first = {"last": last, "previous": last - BACK, "none": 10}[left]
        for step in range(max(first, 10), last + 1, 10):
            assert feed(other, ray_trial(n, f"new{n}"), step, done[n][step]) == GO_ON
    assert (values(other), other.cutoffs()) == (before, cutoffs)
    for n in going_on:
        for step in range(max(done[n], default=0) + 10, 101, 10):
            decided = feed(asha, ray_trial(n), step, made[n][step])
            assert feed(other, ray_trial(n, f"new{n}"), step, made[n][step]) == decided
            if decided == STOP:
                break
    assert values(other) == values(asha)


def test_a_report_that_is_repeated_at_a_rung_is_not_judged_again(spec):
    """It was judged when it was stored, and what came in since would decide otherwise."""
    asha = Asha(spec)
    asha.refill(stored(0, {10: 1.0}))
    asha.refill(stored(1, {10: 2.0}))
    asha.on_trial_add(None, ray_trial(0))
    assert values(asha)[10] == [1.0, 2.0]
    assert feed(asha, ray_trial(0), 10, 1.0) == GO_ON
    assert values(asha)[10] == [1.0, 2.0]
    asha.on_trial_add(None, ray_trial(2))
    assert feed(asha, ray_trial(2), 10, 1.0) == STOP  # as a new one is


def test_a_report_that_was_lost_with_the_driver_is_judged_when_it_is_repeated(spec):
    """The checkpoint is a report ahead of the storage then."""
    asha = Asha(spec)
    asha.refill(stored(0, {}))
    asha.refill(stored(1, {10: 2.0}))
    asha.on_trial_add(None, ray_trial(0))
    assert feed(asha, ray_trial(0), 10, 1.0) == STOP
    assert values(asha)[10] == [1.0, 2.0]


def test_a_trial_is_held_against_those_before_it(spec):
    asha = Asha(spec)
    trials = [ray_trial(n) for n in range(3)]
    for trial in trials:
        asha.on_trial_add(None, trial)
    assert feed(asha, trials[0], 10, 5.0) == GO_ON
    assert feed(asha, trials[1], 10, 4.0) == STOP
    assert feed(asha, trials[2], 10, 6.0) == GO_ON
    assert feed(asha, trials[2], 20, -100.0) == GO_ON  # no rung


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_out_of_the_rungs(spec, value):
    asha = Asha(spec)
    for n in range(3):
        asha.on_trial_add(None, ray_trial(n))
    assert feed(asha, ray_trial(0), 10, 1.0) == GO_ON
    before = asha.cutoffs()
    assert feed(asha, ray_trial(1), 10, value) == GO_ON
    asha.on_trial_complete(None, ray_trial(1), {"steps": 10, "elbo": value})
    asha.refill(stored(7, {10: value}))
    assert asha.cutoffs() == before
    assert values(asha)[10] == [1.0]


def test_a_trial_that_goes_on_keeps_its_places_in_the_rungs(spec):
    asha = Asha(spec)
    asha.refill(stored(4, {10: 1.0, 20: 2.0, 30: 3.0, 40: 4.0}))
    assert asha.rungs == [(90, {}), (30, {4: 3.0}), (10, {4: 1.0})]
    asha.on_trial_add(None, ray_trial(4, trial_id="new"))
    for step in (40, 50, 60):  # under an id of its own these would be taken for first reports at the lower rungs
        feed(asha, ray_trial(4, "new"), step, float(step))
    assert asha.rungs == [(90, {}), (30, {4: 3.0}), (10, {4: 1.0})]


def test_rungs_in_a_warm_up_are_left_out(raw):
    given = raw(asha={"grace": 10, "reduction": 2}, fixed={"kl_warmup": 0.3}, budget={"steps": 100})
    spec = StudySpec(**given)
    assert spec.rungs == [40, 80]
    assert sorted(milestone for milestone, _ in Asha(spec).rungs) == [40, 80]


def test_the_first_objective_decides(raw):
    spec = StudySpec(**raw(asha={"grace": 10}, objective=["hoyer", "elbo"], fixed={"kl_warmup": 0.0}))
    asha = Asha(spec)
    for n in range(2):
        asha.on_trial_add(None, ray_trial(n))
    assert asha.on_trial_result(None, ray_trial(0), {"steps": 10, "hoyer": 1.0, "elbo": 0.0}) == GO_ON
    assert asha.on_trial_result(None, ray_trial(1), {"steps": 10, "hoyer": 0.0, "elbo": 9.0}) == STOP
