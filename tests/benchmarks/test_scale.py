"""The scale benchmark runs a whole search of the real parts; its times are not tested."""

import numpy as np
import pytest
from optuna.trial import TrialState

from benchmarks import scale
from study.record.folder import Run
from study.record.storage import create, open_run
from study.record.trials import outcome, reports


@pytest.mark.parametrize("storage", [None, "journal"])
def test_every_trial_ends_with_its_reports(tmp_path, monkeypatch, storage):
    monkeypatch.setattr(scale, "A_ROW", 20)
    spec, run = scale.specification(50, storage), Run(tmp_path / "scale")
    create(run, spec)
    opened = open_run(run, spec, create=True)
    rows = list(scale.Driver(opened, scale.drawn_curves(np.random.default_rng(0), 30), at_once=8).rows())
    assert [row.ended for row in rows] == [20, 40, 50]
    assert all(set(row.seconds) == set(scale.WORK) for row in rows)
    complete, pruned, failed = outcome(opened.study)[:3]
    assert complete + pruned == 50
    assert failed == 0
    assert min(complete, pruned) > 3
    for trial in open_run(run).study.get_trials():
        made = [*reports(trial)]
        assert made == [scale.EVERY * i for i in range(1, len(made) + 1)]
        assert (len(made) == scale.REPORTS) == (trial.state == TrialState.COMPLETE)
        assert len(trial.params) == len(spec.distributions())


def test_curves_of_a_study_are_made_again(tmp_path):
    spec, run = scale.specification(12, None), Run(tmp_path / "scale")
    create(run, spec)
    opened = open_run(run, spec, create=True)
    drawn = scale.drawn_curves(np.random.default_rng(0), 5)
    list(scale.Driver(opened, drawn, at_once=3).rows())
    levels = {curve[-1]["elbo"] for curve in drawn}
    again = scale.stored_curves(run)
    assert again
    assert {curve[-1]["elbo"] for curve in again} <= levels
    assert [report["steps"] for report in again[0]] == [scale.EVERY * i for i in range(1, scale.REPORTS + 1)]
