"""An interrupted run goes on: every trial exactly once, its reports without gaps and as if nothing had happened."""

import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest
from optuna.trial import TrialState

import analysis
import imagesets
from benchmarks.undisturbed import differences
from study.record.folder import Run
from study.record.storage import open_run
from study.record.trials import Outcome, fail, reports, store_report
from study.spec import StudySpec
from study.trial import checkpoint
from study.trial.seeds import derived_seed
from study.trial.trial import Trial
from study.tune import runner


@pytest.fixture(scope="module")
def killed(preset, tmp_path_factory, ray_folder):
    """A run whose driver was killed: its folder, and how its trials stood at that moment."""
    folder = tmp_path_factory.mktemp("killed")
    budget = {"steps": 200, "report_every": 10}
    path = preset(folder, trials=6, asha={"grace": 20, "reduction": 3}, budget=budget)
    run = Run(folder / "runs" / "tiny")
    with ray_folder() as processes:
        command = [sys.executable, "-m", "study", "run", str(path), "--root", str(run.path.parent)]
        with open(folder / "log", "w") as log:
            driver = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for_reports(run, driver, folder / "log")
        finally:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
        # A trial's process outlives the driver by a second or two, Ray's agents by a minute, and they do nothing.
        assert processes.wait_until_gone(besides="Agent") == {}
    return run, open_run(run).study.get_trials()


def wait_for_reports(run: Run, driver: subprocess.Popen, log) -> None:
    """Until one trial has ended and another has made two reports."""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        assert driver.poll() is None, log.read_text()
        time.sleep(0.05)
        try:
            trials = open_run(run).study.get_trials(deepcopy=False)
        except Exception:  # not there yet
            continue
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        if any(len(reports(trial)) >= 2 for trial in running) and len(running) < len(trials):
            return
    raise AssertionError(f"no trial got so far: {log.read_text()}")


@pytest.mark.long
def test_a_run_whose_driver_was_killed_goes_on(killed, ray_up):
    run, before = killed
    spec = run.spec()
    interrupted = [trial for trial in before if trial.state == TrialState.RUNNING and reports(trial)]
    assert interrupted
    assert any(max(reports(trial)) < spec.steps for trial in interrupted)
    environment = run.environment.read_text()

    outcome = runner.resume(run)
    trials = open_run(run, spec).study.get_trials()
    assert [trial.number for trial in trials] == list(range(6))
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)
    assert outcome == Outcome(
        sum(trial.state == TrialState.COMPLETE for trial in trials),
        sum(trial.state == TrialState.PRUNED for trial in trials),
        0,
    )
    assert len({trial.params["lr"] for trial in trials}) == 6  # the second process draws its own
    for old in before:
        new = trials[old.number]
        assert {**new.params, **old.params} == new.params
        if old.state.is_finished():
            assert (new.state, new.datetime_complete, new.user_attrs) == (
                old.state,
                old.datetime_complete,
                old.user_attrs,
            )
        for step, report in reports(old).items():
            assert reports(new)[step] == report, "a report was made anew, not repeated"
    for trial in trials:
        assert differences(spec, trial) == []
        steps = max(reports(trial))
        assert steps in ([spec.steps] if trial.state == TrialState.COMPLETE else spec.rungs)
    assert set(analysis.trials(run.path)["state"]) <= {"COMPLETE", "PRUNED"}
    assert len(analysis.curves(run.path)) == sum(len(reports(trial)) for trial in trials)
    assert run.environment.read_text() == environment


@pytest.fixture
def half_done(raw, tmp_path) -> Run:
    """A run as a death at the worst moments leaves it.

    Trial 0 made two reports, of which the storage has one; trial 1 was not drawn yet; trial 2 failed; 3 is to come.
    """
    spec = StudySpec(**raw(trials=4))
    run = Run(tmp_path / "runs" / "tiny")
    run.create(spec)
    opened = open_run(run, spec, create=True)
    study = opened.study
    first, _, third = study.ask(), study.ask(), study.ask()
    trial = Trial(
        spec,
        spec.draw(first),
        imagesets.load(spec.dataset),
        seed=derived_seed(spec.seed, 0),
        folder=run.trial(0),
    )
    store_report(study, first._trial_id, trial.report())
    trial.report()
    trial.close()
    spec.draw(third)
    fail(opened, 2, "lost: the worker's process ended")
    return run


@pytest.mark.long
def test_what_a_death_at_the_worst_moments_leaves_is_put_right(half_done, ray_up, command):
    spec = half_done.spec()
    code, out, err = command("resume", half_done.path)
    assert (code, err) == (3, "")  # finished, but a trial failed
    trials = open_run(half_done, spec).study.get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
    for number in (0, 1, 3):
        assert set(trials[number].params) == {"lr"}
        assert differences(spec, trials[number]) == []
    assert trials[2].user_attrs == {"cause": "lost: the worker's process ended"}
    assert "1 failed" in out


def test_a_run_in_use_is_refused(half_done, command):
    with half_done.locked():
        code, _, err = command("resume", half_done.path)
    assert code == 2
    assert "is in use by another process; wait for it, or stop it" in err


def test_the_lock_ends_with_its_process(half_done, python):
    hold = (
        "import os, sys; from study.record.folder import Run; lock = Run(sys.argv[1]).locked(); lock.__enter__(); "
        "os.kill(os.getpid(), 9)"
    )
    done = python("-c", hold, str(half_done.path), check=False)
    assert done.returncode == -signal.SIGKILL
    with half_done.locked():
        pass


# A trial by itself.


def test_a_trial_repeats_the_report_of_its_checkpoint_and_goes_on(raw, tmp_path):
    spec, splits = StudySpec(**raw()), imagesets.load("mnist5k")

    def begin(folder) -> Trial:
        return Trial(spec, {**spec.fixed, "lr": 1e-3}, splits, seed=1, folder=tmp_path / folder)

    straight, expected = begin("straight"), []
    while not straight.done:
        expected.append(straight.report())
    assert [report["steps"] for report in expected] == [10, 20, 30, 40, 50, 60]

    first = begin("halting")
    made = [first.report(), first.report()]
    second = begin("halting")  # the first is given up without notice
    repeated = second.report()
    assert repeated == made[1]
    assert second.training.step == 20
    made += [second.report() for _ in range(4)]
    assert second.done
    times = ("seconds", "cpu_seconds", "reported")
    timeless = dict.fromkeys((*times, "peak_memory"), 0)
    for a, b in zip(made, expected):
        assert {**a, **timeless} == {**b, **timeless}
    for key in times:
        assert all(a[key] < b[key] for a, b in pairwise(made)), key
    for one in (straight, first, second):
        one.close()

    third = begin("halting")  # its last report was made, but perhaps not stored
    assert not third.done
    assert third.report() == made[-1]
    assert third.done
    best = checkpoint.load(tmp_path / "halting" / checkpoint.BEST)
    assert best["report"]["elbo"] == max(report["elbo"] for report in made)


def test_snapshots_are_kept_of_every_report(raw, tmp_path):
    spec = StudySpec(**raw(budget={"steps": 20}))
    trial = Trial(spec, {**spec.fixed, "lr": 1e-3}, imagesets.load("mnist5k"), seed=1, folder=tmp_path)
    while not trial.done:
        trial.report()
    trial.close()
    names = sorted(path.name for path in (tmp_path / "snapshots").iterdir())
    assert names == ["0000010.npz", "0000010.png", "0000020.npz", "0000020.png"]
