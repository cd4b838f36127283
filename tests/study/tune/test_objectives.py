"""Searches on Ray with several objectives, and with none that was ever finite."""

import pytest
from optuna.trial import TrialState

import analysis
import analysis.__main__
from study.record.folder import Run
from study.record.storage import open_run
from study.record.trials import reports


@pytest.mark.long
def test_trials_that_go_nan_fail_with_the_step_and_a_search_without_results_exits_1(ray_up, command, preset, tmp_path):
    path = preset(tmp_path, fixed={"lr": 1e18}, asha={"grace": 10})
    code, out, err = command("run", path, "--root", tmp_path / "runs")
    assert code == 1
    assert err.startswith("2 of 2 trials failed, more than the share that max_failed allows, 0.5; the last: nan: ")
    assert "go on with" not in err  # nothing is owed
    assert "Traceback" not in out + err
    run = Run(tmp_path / "runs" / "tiny")
    trials = open_run(run).study.get_trials()
    assert [trial.state for trial in trials] == [TrialState.FAIL] * 2
    for trial in trials:
        cause = trial.user_attrs["cause"]
        assert cause.startswith("nan: the loss of 'elbo' was not finite at step ")
        assert 0 <= int(cause.split()[-1]) < 10
        assert reports(trial) == {}
    results = analysis.trials(run.path)
    assert list(results["cause"]) == [trial.user_attrs["cause"] for trial in trials]
    assert results["metrics.elbo"].isna().all()
    code, out, _ = command("table", run.path, app=analysis.__main__.app)
    assert code == 0
    assert out.count("nan: the loss") == 2
    code, _, err = command("export", run.path, "--out", tmp_path / "best")
    assert code == 2
    assert "of tiny's 2 trials none is complete; " in err


@pytest.mark.long
def test_a_score_of_codes_is_searched_with_pruning_and_confirmed_by_tasks_of_its_own(ray_up, command, preset, tmp_path):
    path = preset(
        tmp_path,
        dataset="sprites",
        dataset_options={"scale": 2, "orientation": 6, "pos_x": 4, "pos_y": 4},
        objective=["elbo", "mig"],
        trials=4,
        asha={"grace": 4, "reduction": 2},
        budget={"steps": 8, "report_every": 4, "batch": 8},
        confirm={"top": 0, "seeds": 2, "samples": 2, "images": 20, "scores": ["factor_vae", "udr"], "votes": 20},
    )
    assert command("run", path, "--root", tmp_path / "runs")[::2] == (0, "")
    run = Run(tmp_path / "runs" / "tiny")
    trials = open_run(run).study.get_trials()
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in trials:
        made = reports(trial)
        assert all(0 <= report["mig"] <= 1 for report in made.values())
        assert "factor_vae" not in made[4]
        assert trial.values in (None, [made[max(made)]["elbo"], made[max(made)]["mig"]])
    code, out, err = command("confirm", run.path)
    assert (code, err) == (0, "")
    lines = [line.partition(": ") for line in out.splitlines()]
    assert sorted(who for who, _, _ in lines[:-1]) == sorted(
        ["defaults, seed 1 of 2", "defaults, seed 2 of 2"] * 2 + ["defaults, 2 seeds"]
    )
    assert lines[-2][2].startswith("udr ")
    assert lines[-2][2].endswith("(5 of 5)")
    frame = analysis.confirmed(run.path)
    assert frame[["metrics.mig", "metrics.factor_vae_sampled", "metrics.udr"]].notna().all(axis=None)
    _, out, _ = command("table", run.path, app=analysis.__main__.app)
    assert "scores are of posterior means of the test set: 20 votes, 10,000 examples, DCI of lightgbm's trees" in out


def test_several_objectives_with_pruning(ray_up, command, preset, tmp_path):
    """More trials than the sampler draws at random: TPE fails on pruned trials that have intermediate values."""
    path = preset(
        tmp_path,
        model="vsc",
        objective=["elbo", "zero_fraction"],
        sampler="tpe",
        trials=14,
        asha={"grace": 10, "reduction": 2},
        budget={"steps": 30, "batch": 16},
    )
    code, _, err = command("run", path, "--root", tmp_path / "runs")
    assert (code, err) == (0, "")
    run = Run(tmp_path / "runs" / "tiny")
    spec = run.spec()
    stored = open_run(run, spec).study
    trials = stored.get_trials()
    assert len(trials) == 14
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in trials:
        made = reports(trial)
        assert trial.intermediate_values == {}
        assert list(made) == list(range(10, max(made) + 1, 10))
        if trial.state == TrialState.COMPLETE:
            assert max(made) == 30
            assert trial.values == [made[30]["elbo"], made[30]["zero_fraction"]]
        else:
            assert max(made) in spec.rungs
            assert trial.values is None
        assert "alpha" in trial.params
    assert {trial.number for trial in stored.best_trials} <= {t.number for t in trials if t.values}
    assert len(analysis.curves(run.path)) == sum(len(reports(trial)) for trial in trials)
    code, _, _ = command("status", run.path)
    assert code == 0
