"""Searches whose trials pause, without Ray: whose turn it is, what survives a kill, and what a replay says of it."""

import random
from types import SimpleNamespace
from typing import Any

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from analysis.simulation import Curve, own_decisions, simulate
from study.record import first, pauses
from study.record.folder import Run
from study.record.storage import open_run, reopen
from study.record.trials import owed, reports
from study.spec import StudySpec
from study.spec.measures import METRICS, PAUSED, PLACE
from study.spec.room import Has
from study.tune import turns
from study.tune.ledger import Ledger
from study.tune.scheduler import Asha
from study.tune.start import MARK
from study.tune.turns import InTurn, Room, fitting

FULL, EVERY = 60, 10
STOP = "STOP"


class Killed(Exception):
    """The driver is gone, with all that was in its memory."""


def value(number: int, steps: int) -> float:
    """Trials of all qualities, whose order changes from report to report."""
    return random.Random(1000 * number + steps).gauss(number * 7 % 5 + steps / 10, 2)


class Search:
    """A search as Ray Tune goes through it, on workers that train nothing; what a kill leaves is the study, and disks.

    Args:
        run: its folder.
        spec: of the study.
        workers: at work at once.
        seed: of who reports next, and of what ends.
        kills: chance of a kill at each of the moments at which one leaves something else behind.
        failing: trials that fail at their third report.
    """

    def __init__(
        self, run: Run, spec: StudySpec, workers: int, seed: int = 0, kills: float = 0.0, failing: tuple[int, ...] = ()
    ):
        self.run, self.spec, self.workers, self.kills, self.failing = run, spec, workers, kills, failing
        self.dice = random.Random(seed)
        self.disk: dict[int, int] = {}  # number -> steps of its checkpoint
        self.handed: list[int] = []
        self.killed = 0
        run.create(spec)
        open_run(run, spec, create=True)

    @property
    def study(self) -> optuna.Study:
        return open_run(self.run, self.spec).study

    def go(self) -> None:
        """Searches to the end, however often it is killed."""
        while True:
            opened = reopen(self.run, self.spec)
            if not owed(opened):
                return
            try:
                self._session(opened)
            except Killed:
                self.killed += 1

    def _moment(self) -> None:
        if self.dice.random() < self.kills:
            raise Killed

    def _session(self, opened) -> None:
        asha, ledger = Asha(self.spec), Ledger(opened)
        for trial in opened.study.get_trials():
            asha.refill(trial)
        ledger.follow(asha.rule)
        searcher = InTurn(opened, None, pauses.at_work(opened.study), asha.rule, ledger, lambda: self.workers)
        at_work: dict[str, Any] = {}
        ids = map(str, range(10**6))
        while True:
            while isinstance(config := searcher.suggest(name := next(ids)), dict):
                self._moment()
                number = config["number"]
                self.handed.append(number)
                at_work[name] = SimpleNamespace(
                    config=config, num_failures=0, max_failures=3, repeats=number in self.disk, last_result=None
                )
            if not at_work:
                assert config == Searcher.FINISHED
                ledger.close()
                return
            assert config is None
            name = self.dice.choice([*at_work])
            self._step(name, at_work, asha, searcher, ledger)
            assert not ledger.halt

    def _step(self, name: str, at_work: dict, asha: Asha, searcher: InTurn, ledger: Ledger) -> None:
        trial = at_work[name]
        number = trial.config["number"]
        steps = self.disk.get(number, 0) + (0 if trial.repeats else EVERY)
        self.disk[number], trial.repeats = steps, False
        self._moment()
        fails = number in self.failing and steps == 3 * EVERY
        made = {**dict.fromkeys(METRICS, 0.5), "measures": list(METRICS), "seconds": 1.0 * steps, "train": []}
        made |= {"steps": steps, "elbo": value(number, steps), "cause": "nan" if fails else ""}
        made["done"] = fails or steps == FULL
        if not made["done"]:
            made["done"] = asha.on_trial_result(None, trial, made) == STOP
        ledger.on_trial_result(0, [], trial, made)
        trial.last_result = made
        self._moment()
        if made["done"]:
            del at_work[name]
            asha.on_trial_complete(None, trial, made)
            searcher.on_trial_complete(name, made)
            ledger.on_trial_complete(0, [], trial)
            self._moment()


@pytest.fixture
def search(raw, tmp_path):
    def make(trials: int = 16, workers: int = 2, grace: int = 10, **given: Any) -> Search:
        how = {key: given.pop(key) for key in ("mode", "complete") if key in given}
        spec = StudySpec(**raw(trials=trials, storage="journal", asha={"grace": grace, "reduction": 2, **how}))
        return Search(Run(tmp_path / "tiny"), spec, workers, **given)

    return make


def ends(study: optuna.Study, state: TrialState) -> dict[int, int]:
    return {trial.number: max(reports(trial)) for trial in study.get_trials(states=[state]) if reports(trial)}


def rows(study: optuna.Study) -> pd.DataFrame:
    """Reports as `analysis.curves` has them."""
    return pd.DataFrame(
        [
            {"number": trial.number, "steps": steps, "elbo": report["elbo"], PLACE: report[PLACE]}
            for trial in study.get_trials()
            for steps, report in reports(trial).items()
        ]
    )


WAYS = [{"mode": "promote"}, {"mode": "promote", "complete": 0}, {"mode": "stop", "complete": 6}]


@pytest.mark.parametrize("way", WAYS, ids=["promote", "promote, none at least", "stop, six at least"])
@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_killed_every_trial_ends_as_the_rule_says_of_the_stored_order(search, way, seed):
    made = search(**way, seed=seed, kills=0.08, failing=(3,))
    made.go()
    study = made.study
    assert made.killed > 3
    trials = study.get_trials()
    assert [trial.number for trial in trials] == list(range(16))
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    for trial in trials:
        made_at = {steps: report["elbo"] for steps, report in reports(trial).items()}
        assert made_at == {steps: value(trial.number, steps) for steps in range(EVERY, max(made_at) + 1, EVERY)}
        marked = [steps for steps, report in reports(trial).items() if report.get(PAUSED)]
        assert marked == ([max(made_at)] if trial.state == TrialState.PRUNED else [])
    pruned = ends(study, TrialState.PRUNED)
    assert own_decisions(made.spec, rows(study), pauses.turns(trials)) == pruned
    assert set(pruned.values()) <= set(made.spec.rungs)
    assert len(ends(study, TrialState.COMPLETE)) >= made.spec.least_complete


def test_how_many_have_gone_on_from_a_rung_outlives_a_kill(search, monkeypatch):
    """Each trial is better than those before: without that number all of them would go on."""
    monkeypatch.setattr("test_turns.value", lambda number, steps: float(number))
    made = search(trials=16, workers=1, mode="promote", complete=0, grace=20, kills=0.08)
    made.go()
    assert made.killed > 3
    gone_on = [turn for turn in pauses.turns(made.study.get_trials()) if turn.steps]
    assert [sum(turn.steps == rung for turn in gone_on) for rung in made.spec.rungs] == [13, 10]


@pytest.mark.parametrize("way", WAYS, ids=["promote", "promote, none at least", "stop, six at least"])
def test_more_trials_are_judged_at_the_same_rungs_and_who_has_ended_stays_so(search, way):
    made = search(trials=8, **way)
    made.go()
    before = ends(made.study, TrialState.PRUNED)
    made.spec = made.spec.model_copy(update={"trials": 16})
    made.go()
    pruned = ends(made.study, TrialState.PRUNED)
    assert before.items() <= pruned.items()
    assert len(made.study.trials) == 16
    assert own_decisions(made.spec, rows(made.study), pauses.turns(made.study.get_trials())) == pruned


@pytest.mark.parametrize("way", WAYS, ids=["promote", "promote, none at least", "stop, six at least"])
def test_with_one_worker_it_is_what_a_replay_makes_of_the_curves(search, way):
    made = search(**way, workers=1)
    made.go()
    whole = [
        Curve(n, "COMPLETE", steps, tuple(value(n, s) for s in steps), tuple(map(float, steps)))
        for n, steps in ((n, tuple(range(EVERY, FULL + 1, EVERY))) for n in range(16))
    ]
    replayed = simulate(whole, made.spec.rule())
    assert replayed.stopped == ends(made.study, TrialState.PRUNED)
    assert sorted(replayed.complete) == sorted(ends(made.study, TrialState.COMPLETE))


def test_the_defaults_that_a_search_begins_with_are_one_of_its_trials(search):
    """All trials are drawn in a single session, to which the defaults are a trial that waits."""
    made = search(trials=5, workers=1, mode="promote")
    opened = reopen(made.run, made.spec)
    first.enqueue(opened._replace(spec=made.spec.model_copy(update={"first": "defaults"})))
    made._session(opened)
    trials = made.study.get_trials()
    assert [trial.number for trial in trials] == [*range(5)]
    assert [first.ORIGIN in trial.user_attrs for trial in trials] == [True, False, False, False, False]
    assert all(trial.state.is_finished() for trial in trials)


def test_a_free_worker_takes_up_who_is_among_the_best_before_a_new_one_is_drawn(search, monkeypatch):
    """Of two one goes on, and at the upper rung of two likewise."""
    monkeypatch.setattr("test_turns.value", lambda number, steps: (3, 9, 5, 7)[number])
    made = search(trials=4, workers=1, mode="promote", complete=0, grace=20)
    made.go()
    # 1 is the best of 0 and 1; of 0, 1 and 2 half is one; of four, 1 and 3; of 1 and 3 at the upper rung 1 is the best
    assert made.handed == [0, 1, 1, 2, 3, 3, 1]
    assert ends(made.study, TrialState.COMPLETE) == {1: FULL}
    assert ends(made.study, TrialState.PRUNED) == {0: 20, 2: 20, 3: 40}


def test_the_best_stopped_ones_go_on_where_too_few_are_complete(search, monkeypatch):
    """Each is worse than those before, so that the first alone goes on; the best of the others follow, to the end."""
    monkeypatch.setattr("test_turns.value", lambda number, steps: -float(number))
    made = search(trials=6, workers=1, mode="stop", complete=3)
    made.go()
    assert made.handed == [0, 1, 2, 3, 4, 5, 1, 2]
    assert ends(made.study, TrialState.COMPLETE) == dict.fromkeys(range(3), FULL)


@pytest.mark.parametrize("seed", range(2))
def test_nobody_is_taken_up_to_finish_while_another_may_pause_above(search, monkeypatch, seed):
    """Whoever of the two gets to the rung first."""
    monkeypatch.setattr("test_turns.value", lambda number, steps: float(number))
    made = search(trials=2, workers=2, mode="promote", complete=1, grace=20, seed=seed)
    made.go()
    assert made.handed == [0, 1, 1, 1]
    assert ends(made.study, TrialState.COMPLETE) == {1: FULL}


def test_who_is_displaced_among_the_best_stopped_ones_ends_at_once(search, monkeypatch):
    monkeypatch.setattr("test_turns.value", lambda number, steps: (9.0, 1.0, 2.0, 3.0, 4.0)[number])
    made = search(trials=5, workers=1, mode="stop", complete=2)
    told: list[int] = []
    tell = pauses.tell
    monkeypatch.setattr(pauses, "tell", lambda run, number, end: (told.append(number), tell(run, number, end)))
    made.go()
    assert told == [1, 2, 3]  # the first is complete already; of the rest two, and once two are complete none
    assert ends(made.study, TrialState.COMPLETE) == {0: FULL, 4: FULL}


def test_one_that_fails_on_its_way_to_the_end_is_followed_by_the_next(search, monkeypatch):
    monkeypatch.setattr("test_turns.value", lambda number, steps: -float(number))
    made = search(trials=6, workers=1, mode="promote", complete=2, grace=20, failing=(0, 1))
    made.go()
    assert sorted(ends(made.study, TrialState.COMPLETE)) == [2, 3]
    assert sorted(ends(made.study, TrialState.FAIL)) == [0, 1]


@pytest.mark.parametrize(
    ("cpus", "gpus", "there", "takes"),
    [
        (1, 0, Has(8, 0), 8),
        (3, 0, Has(8, 2), 2),
        (1, 0.25, Has(8, 1), 4),
        (1, 0.4, Has(16, 2), 4),
        (1, 0.1, Has(64, 1), 10),
        (2, 2, Has(8, 5), 2),
        (1, 1, Has(8, 0), 0),
    ],
)
def test_how_many_trials_a_machine_takes(raw, cpus, gpus, there, takes):
    assert fitting(StudySpec(**raw(resources={"cpus": cpus, "gpus": gpus})), there) == takes


@pytest.mark.parametrize(
    ("labels", "cpus", "takes"), [(MARK, (4,), 4), (MARK, (0,), 1), ({}, (4, 2), 7), ({"zone": "a"}, (0,), 1)]
)
def test_on_a_cluster_one_trial_waits_for_which_it_may_grow(raw, monkeypatch, labels, cpus, takes):
    nodes = [{"Resources": {"CPU": count}, "Labels": labels} for count in cpus]
    monkeypatch.setattr(turns, "alive", lambda: nodes)
    assert Room(StudySpec(**raw()))() == takes
