"""The throughput benchmark counts what is lost and compares sizes; its seconds are not tested."""

from datetime import datetime, timedelta

import optuna
import pytest
from optuna.trial import TrialState

from benchmarks import throughput
from benchmarks.throughput import EVERY, PRESET, REPORTS, Measured, holds, lost, seconds_a_trial, table
from study.spec import StudySpec

STEPS = [EVERY * (n + 1) for n in range(REPORTS)]
START = datetime(2030, 1, 1)


@pytest.fixture
def study():
    """Makes a study of trials, each given as its state, its reports' steps and the second of its end."""

    def make(*given: tuple[TrialState, list[int], float]) -> optuna.Study:
        made = optuna.create_study(direction="maximize")
        for state, steps, end in given:
            trial = optuna.trial.create_trial(
                state=state,
                value=1.0 if state == TrialState.COMPLETE else None,
                intermediate_values=dict.fromkeys(steps, 1.0),
                user_attrs={f"report:{step}": {} for step in steps},
            )
            trial.datetime_start, trial.datetime_complete = START, START + timedelta(seconds=end)
            made.add_trial(trial)
        return made

    return make


def test_the_preset_makes_that_many_reports():
    spec = StudySpec(**PRESET)
    assert list(range(spec.report_every, spec.steps + 1, spec.report_every)) == STEPS
    assert spec.rungs == []


def test_a_trial_is_lost_unless_it_is_complete_with_all_its_reports(study):
    whole = (TrialState.COMPLETE, STEPS, 1.0)
    assert lost(study(whole, whole), 2) == 0
    assert lost(study(whole, whole), 3) == 1
    assert lost(study(whole, (TrialState.FAIL, STEPS, 1.0)), 2) == 1
    assert lost(study(whole, (TrialState.COMPLETE, STEPS[:4] + STEPS[5:], 1.0)), 2) == 1


def test_seconds_are_counted_from_the_end_of_the_first_trial(study):
    ends = [(TrialState.COMPLETE, STEPS, end) for end in (30.0, 32.0, 31.0, 36.0)]
    assert seconds_a_trial(study(*ends)) == pytest.approx(2.0)


def test_sizes_are_held_against_the_first():
    small, large = Measured(50, 0.2, 20.0, 300.0, 310.0, 0), Measured(500, 0.3, 160.0, 300.0, 330.0, 0)
    assert holds([small, large])
    assert not holds([small, large._replace(seconds_a_trial=0.31)])
    assert not holds([small, large._replace(lost=1)])
    assert table([small, large]).splitlines()[2].split() == ["500", "0.300", "1.50", "160.0", "300", "330", "0"]


def test_its_exit_code_says_whether_the_claim_holds(monkeypatch, capsys):
    seconds = {2: 0.2, 20: 0.9}
    monkeypatch.setattr(
        throughput, "measure", lambda trials, *_: Measured(trials, seconds[trials], 1.0, 300.0, 300.0, 0)
    )
    assert throughput.main(["--trials", "2"]) == 0
    assert throughput.main(["--trials", "2", "20"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].split()[:3] == ["20", "0.900", "4.50"]
