"""Trials that pause: what is stored of them, what is said of them, and what becomes of them when a run goes on."""

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from study.record import pauses, sampling
from study.record.folder import OpenRun, Run
from study.record.pauses import Turn, paused_at
from study.record.storage import open_run, reopen
from study.record.trials import finish, owed, reports, store_report
from study.record.words import at_work, describe, plan, summary
from study.spec import StudySpec
from study.spec.measures import METRICS, PAUSED

PROMOTE = {"grace": 10, "reduction": 2, "mode": "promote"}  # rungs 10, 20 and 40 of 60


def report(steps: int, elbo: float, **marks: bool) -> dict:
    given = {**dict.fromkeys(METRICS, 0.5), "measures": list(METRICS), "elbo": elbo}
    return {**given, "steps": steps, "seconds": 1.0, "train": [], "cause": "", "place": steps, **marks}


@pytest.fixture
def make(raw, tmp_path):
    def new(*paused: float, trials: int = 6, **asha) -> OpenRun:
        """A run whose first trials pause at step 10."""
        spec = StudySpec(**raw(trials=trials, storage="journal", asha={**PROMOTE, **asha}))
        run = Run(tmp_path / "tiny")
        run.create(spec)
        opened = open_run(run, spec, create=True)
        for elbo in paused:
            store_report(opened.study, begin(opened), report(10, elbo, paused=True))
        return opened

    return new


def begin(opened: OpenRun) -> int:
    trial = opened.study.ask()
    opened.spec.draw(trial)
    return trial._trial_id


def states(opened: OpenRun) -> list[str]:
    return [trial.state.name for trial in reopen(opened.run, opened.spec).study.get_trials()]


def test_a_trial_pauses_until_it_is_handed_out_and_its_mark_goes_with_its_next_report(make):
    opened = make(-5.0)
    study = opened.study

    def trial():
        return study.get_trials()[0]

    assert paused_at(trial()) == 10
    pauses.hand_out(study, trial()._trial_id, 10, place=7)
    assert paused_at(trial()) is None  # and were the driver to die now, the trial would be handed out again
    assert [other.number for other in pauses.at_work(study)] == [0]
    store_report(study, trial()._trial_id, report(10, -5.0))  # as its checkpoint repeats it
    assert PAUSED not in reports(trial())[10]
    store_report(study, trial()._trial_id, report(20, -4.0, paused=True))
    assert (paused_at(trial()), pauses.at_work(study)) == (20, [])
    pauses.put_away(opened, 0, place=9)
    assert (trial().state, paused_at(trial())) == (TrialState.PRUNED, None)
    assert pauses.turns(study.get_trials()) == [Turn(7, 0, 10), Turn(9, 0, away=True)]


def test_one_that_is_to_finish_pauses_nowhere_after_a_kill_either(make):
    opened = make(-5.0, -6.0)
    study, rule = opened.study, opened.spec.rule()
    pauses.hand_out(study, study.get_trials()[1]._trial_id, 10, place=7, whole=True)
    for trial in study.get_trials():
        pauses.fill(rule, trial, "elbo")
    assert (rule.whole, [*rule.paused]) == ({1}, [0])
    assert rule.goes_on(1, 20, -9.0)


def test_what_a_person_reads(make):
    opened = make(-5.0, -6.0, trials=16)
    store_report(opened.study, begin(opened), report(10, -7.0))
    first, _, third = opened.study.get_trials()
    assert describe(first, opened.spec).split()[:5] == ["trial", "0", "paused", "at", "step"]
    assert describe(third, opened.spec).split()[2] == "unfinished"
    assert "0 complete, 0 pruned, 0 failed, 2 paused, 1 unfinished, of 16 trials" in summary(opened)
    assert [line.split()[1] for line in at_work(opened).splitlines()[1:]] == ["2"]
    said = plan(opened.spec, opened.run)
    assert "ASHA pauses all and takes up 1 in 2 at steps 10, 20, 40; 3 complete at least" in said
    assert "expects to make" in said


@pytest.mark.parametrize(
    ("asha", "elbos", "trials", "expected"),
    [
        ({}, (3.0, 1.0, 2.0), 3, ["RUNNING"] * 3),  # one is to be promoted, and three are to be complete
        ({"complete": 0}, (3.0, 1.0), 2, ["RUNNING"] * 2),  # one is to be promoted
        ({"complete": 0, "reduction": 4}, (3.0, 1.0, 2.0), 3, ["PRUNED"] * 3),  # the search was over
        ({"complete": 0, "reduction": 4}, (3.0, 1.0, 2.0), 4, ["RUNNING"] * 3),  # it was not: one is to be drawn
        ({"mode": "stop", "complete": 2}, (3.0, 1.0, 2.0), 6, ["RUNNING", "PRUNED", "RUNNING"]),  # 1 was displaced
        ({"mode": "stop", "complete": 2}, (3.0, 1.0, 2.0), 3, ["RUNNING", "PRUNED", "RUNNING"]),  # two are to finish
    ],
)
def test_who_cannot_go_on_ends_when_the_run_goes_on(make, asha, elbos, trials, expected):
    opened = make(*elbos, trials=trials, **asha)
    assert states(opened) == expected
    assert states(opened) == expected
    assert owed(reopen(opened.run, opened.spec)) == trials - expected.count("PRUNED")


def test_none_is_kept_once_enough_are_complete(make):
    opened = make(3.0, 1.0, trials=6, mode="stop", complete=1)
    assert states(opened) == ["RUNNING", "PRUNED"]
    whole = begin(opened)
    store_report(opened.study, whole, report(60, 9.0, done=True))
    finish(opened, 2, report(60, 9.0))
    assert states(opened) == ["PRUNED", "PRUNED", "COMPLETE"]


def test_a_study_whose_trials_end_where_they_stop_is_as_it_was(raw):
    spec = StudySpec(**raw(asha={"grace": 10}))
    assert (spec.asha.mode, spec.asha.complete, spec.least_complete, spec.pauses) == ("stop", None, 0, False)
    assert StudySpec(**raw(asha=None)).pauses is False
    promoting = StudySpec(**raw(asha={"grace": 10, "mode": "promote"}, confirm={"top": 5}))
    assert (promoting.least_complete, promoting.pauses) == (5, True)
    assert StudySpec(**raw(asha={"grace": 10, "mode": "promote"}, confirm={"top": 0})).least_complete == 3
    assert StudySpec(**raw(asha={"grace": 10, "complete": 2})).pauses is True


def test_the_sampler_learns_from_who_pauses_as_from_who_was_stopped():
    def drawn(ends: bool) -> list[dict]:
        study = optuna.create_study(direction="maximize", sampler=sampling.Tpe(seed=3, pauses=True))
        space = {"x": FloatDistribution(-1.0, 1.0)}
        for i in range(30):
            x = i % 11 / 5 - 1
            study.enqueue_trial({"x": x})
            trial = study.ask(space)
            store_report(study, trial._trial_id, report(10, -abs(x - 0.5), paused=i % 3 > 0))
            if i % 3 == 0:
                study.tell(trial, -abs(x - 0.5))
            elif ends:
                study.tell(trial, state=TrialState.PRUNED)
        study.sampler = sampling.Tpe(seed=4, pauses=True)
        return [study.ask(space).params for _ in range(5)]

    assert drawn(ends=True) == drawn(ends=False)
