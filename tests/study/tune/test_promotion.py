"""A search on Ray whose trials pause and are promoted, stopped softly in its middle."""

import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import pytest
from events import hparams, scalars
from optuna.trial import FrozenTrial, TrialState
from ray import cloudpickle

import analysis
from analysis import replay, simulation
from benchmarks.undisturbed import differences
from study.record import pauses
from study.record.folder import Run
from study.record.storage import open_run
from study.record.trials import Outcome, reports
from study.signals import Stop
from study.spec import StudySpec
from study.tune import runner
from study.tune.ledger import Ledger
from study.tune.trainable import Trainable

FULL, TRIALS, RESULTS = 40, 9, 10
ITS_OWN = {"paused": None}  # what a report that is repeated may have otherwise


class Noted(Trainable):
    """Leaves the number of its process beside the run."""

    def setup(self, config: dict[str, Any]) -> None:
        processes = Path(config["run"]).parent / "processes"
        processes.mkdir(exist_ok=True)
        (processes / str(os.getpid())).touch()
        super().setup(config)


class Searched(NamedTuple):
    run: Run
    spec: StudySpec
    before: list[FrozenTrial]  # as the first session left them
    outcomes: list[Outcome]

    @property
    def study(self) -> optuna.Study:
        return open_run(self.run, self.spec).study


@pytest.fixture(scope="module")
def searched(raw, tmp_path_factory, ray_up) -> Searched:
    """Rungs 10 and 20 of 40 steps; stopped after some results, and gone on with."""
    asha = {"grace": 10, "reduction": 2, "mode": "promote", "complete": 3}
    spec = StudySpec(**raw(trials=TRIALS, asha=asha, budget={"steps": FULL}, sampler="tpe", seed=5))
    run, stop, made = Run(tmp_path_factory.mktemp("promoted") / "tiny"), Stop(), []
    store = Ledger.on_trial_result

    def counted(ledger: Ledger, *given, **named) -> None:
        store(ledger, *given, **named)
        made.append(given)
        stop.signal = signal.SIGTERM if len(made) == RESULTS else stop.signal

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "_stopping", lambda *_: nullcontext(stop))
        patch.setattr(Ledger, "on_trial_result", counted)
        patch.setattr(runner, "Trainable", Noted)
        cloudpickle.register_pickle_by_value(sys.modules[__name__])
        first = runner.run(spec, run)
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    before = open_run(run, spec).study.get_trials()
    return Searched(run, spec, before, [first, runner.resume(run)])


def test_a_search_that_is_stopped_leaves_who_pauses_as_they_are(searched):
    assert searched.outcomes[0].signal == signal.SIGTERM
    assert any(pauses.paused_at(trial) for trial in searched.before)
    assert TrialState.PRUNED not in {trial.state for trial in searched.before}


def test_as_many_processes_are_at_work_as_have_room_however_short_the_trials(searched):
    assert len([*(searched.run.path.parent / "processes").iterdir()]) == 2


def test_every_trial_ends_once_and_at_least_so_many_are_complete(searched):
    trials = searched.study.get_trials()
    assert [trial.number for trial in trials] == list(range(TRIALS))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    complete = sum(trial.state == TrialState.COMPLETE for trial in trials)
    assert complete >= 3
    assert searched.outcomes[1] == Outcome(complete, TRIALS - complete, 0)
    for trial in trials:
        assert max(reports(trial)) in ([FULL] if trial.state == TrialState.COMPLETE else searched.spec.rungs)


def test_who_was_promoted_trained_as_if_nothing_had_happened(searched):
    promoted = {turn.number for turn in pauses.turns(searched.study.get_trials()) if turn.steps}
    assert len(promoted) >= 3
    for trial in searched.study.get_trials():
        assert differences(searched.spec, trial) == []
        for steps, report in (
            reports(searched.before[trial.number]).items() if trial.number < len(searched.before) else ()
        ):
            assert report | ITS_OWN == reports(trial)[steps] | ITS_OWN


def test_a_replay_in_the_order_of_its_reports_gives_its_decisions_back(searched):
    found = replay.searched(searched.run)
    pruned = {trial.number: trial.last_step for trial in searched.study.get_trials(states=[TrialState.PRUNED])}
    assert simulation.own_decisions(found.spec, found.reports, found.turns) == pruned
    assert any(f"{TRIALS} of {TRIALS} trials end where they did" in note for note in replay.notes(found, 1, 100))


def test_tensorboard_and_pictures_are_whole_and_tables_have_the_end(searched):
    for trial in searched.study.get_trials():
        folder = searched.run.trial(trial.number)
        assert list(scalars(folder)["valid/elbo"]) == list(reports(trial))
        assert len(hparams(folder)) == 2  # its configuration, and its end
        assert len(list((folder / "snapshots").glob("*.png"))) == len(reports(trial))
    assert list(analysis.trials(searched.run.path)["state"]) == [t.state.name for t in searched.study.get_trials()]
