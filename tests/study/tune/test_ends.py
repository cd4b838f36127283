"""How searches on Ray end: with failures, too many of them, a full disk, and a reader beside."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

import analysis
import imagesets
from study.record.folder import Run
from study.record.storage import open_run
from study.record.trials import reports
from study.spec import StudySpec
from study.spec.measures import METRICS
from study.trial import checkpoint
from study.trial.seeds import derived_seed
from study.trial.training import NonFiniteLossError, Training
from study.tune import runner
from study.tune.display import Lines
from study.tune.searcher import HandOut
from study.tune.trainable import Trainable

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture
def handed_out(monkeypatch):
    """Lets certain trials be trained with other settings than were drawn: number -> settings."""

    def instead(changes: dict[int, dict[str, Any]]) -> None:
        suggest = HandOut.suggest

        def changed(self: HandOut, trial_id: str) -> dict[str, Any]:
            config = suggest(self, trial_id)
            return {**config, "settings": {**config["settings"], **changes.get(config["number"], {})}}

        monkeypatch.setattr(HandOut, "suggest", changed)

    return instead


def undisturbed(spec: StudySpec, trial: optuna.trial.FrozenTrial, **settings: Any) -> Training:
    given = {**spec.fixed, **trial.params, **settings}
    return Training(spec, given, imagesets.load(spec.dataset), seed=derived_seed(spec.seed, trial.number))


def first_bad_step(training: Training) -> int:
    """The first step at which training step by step finds a loss that is not finite."""
    for step in range(training.budget):
        try:
            training.advance(1)
        except NonFiniteLossError:
            return step
    raise AssertionError("every loss was finite")


def assert_whole(spec: StudySpec, trial: optuna.trial.FrozenTrial) -> None:
    """A trial's reports are those of a training that nobody disturbed."""
    training, made = undisturbed(spec, trial), reports(trial)
    assert list(made) == list(range(spec.report_every, spec.steps + 1, spec.report_every))
    for report in made.values():
        training.advance(spec.report_every)
        assert {key: report[key] for key in METRICS} == training.evaluate()


def test_trials_that_fail_say_why_the_sampler_is_told_and_the_others_finish(
    ray_up, command, preset, tmp_path, handed_out, monkeypatch
):
    handed_out({1: {"lr": 1e18}, 3: {"no_such_setting": 1}})
    told = {}
    monkeypatch.setattr(
        optuna.samplers.TPESampler,
        "after_trial",
        lambda _, study, trial, state, values: told.update({trial.number: state}),
    )
    path = preset(tmp_path, trials=5, sampler="tpe", budget={"steps": 20})
    code, out, err = command("run", path, "--root", tmp_path / "runs")
    assert (code, err) == (3, "")
    assert "3 complete, 0 pruned, 2 failed, 0 unfinished, of 5 trials" in out
    run = Run(tmp_path / "runs" / "tiny")
    spec = run.spec()
    trials = open_run(run, spec).study.get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "COMPLETE", "FAIL", "COMPLETE"]
    assert told == {trial.number: trial.state for trial in trials}
    step = first_bad_step(undisturbed(spec, trials[1], lr=1e18))
    told = {key: value for key, value in trials[1].user_attrs.items() if key != "taken_up"}
    assert told == {"cause": f"nan: the loss of 'elbo' was not finite at step {step}"}
    assert (trials[1].values, trials[1].intermediate_values) == (None, {})
    kind, raised, message = trials[3].user_attrs["cause"].split(": ", 2)
    assert (kind, "no_such_setting" in message) == ("crash", True)
    assert trials[3].user_attrs["traceback"].splitlines()[-1].endswith(f"{raised}: {message}")
    assert [trial.number for trial in trials if "traceback" in trial.user_attrs] == [3]
    for number in (0, 2, 4):
        assert_whole(spec, trials[number])
    assert list(analysis.trials(run.path)["cause"].str.split(":").str[0]) == ["", "nan", "", "crash", ""]


def test_too_many_failures_end_a_search_early_with_exit_1(ray_up, command, preset, tmp_path, handed_out):
    handed_out({number: {"lr": 1e18} for number in range(12)})
    path = preset(tmp_path, trials=12, max_failed=0.0, budget={"steps": 20})
    code, out, err = command("run", path, "--root", tmp_path / "runs")
    run = Run(tmp_path / "runs" / "tiny")
    assert code == 1
    first = "1 of 12 trials failed, more than the share that max_failed allows, 0; the last: nan: the loss of 'elbo'"
    assert err.startswith(first)
    assert err.endswith(f"\ngo on with: python -m study resume {run.path}\n")
    assert "Traceback" not in out + err
    stored = open_run(run).study.get_trials()
    assert len(stored) < 12
    assert [trial.state for trial in stored].count(TrialState.FAIL) == 1
    assert len(analysis.trials(run.path)) == len(stored)


def full_from(step: int, while_exists: Path) -> type[Trainable]:
    """A trainable on whose disk there is no room for checkpoints from a step on."""

    class Full(Trainable):  # in a function, so that it travels to the workers whole
        def step(self) -> dict[str, Any]:
            save = checkpoint.save_last

            def no_room(folder: Path, state: dict[str, Any], is_best: bool = False) -> None:
                if state["training"]["step"] >= step and while_exists.exists():
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / checkpoint.LAST))
                save(folder, state, is_best)

            checkpoint.save_last = no_room
            try:
                return super().step()
            finally:
                checkpoint.save_last = save

    return Full


@pytest.mark.long
def test_a_search_on_a_full_disk_halts_and_goes_on(ray_up, command, preset, tmp_path, monkeypatch):
    full = tmp_path / "full"
    full.touch()
    monkeypatch.setattr(runner, "Trainable", full_from(20, full))
    path = preset(tmp_path, trials=3, budget={"steps": 30})
    code, out, err = command("run", path, "--root", tmp_path / "runs")
    run = Run(tmp_path / "runs" / "tiny")
    spec = run.spec()
    assert code == 1
    assert err.startswith("disk: [Errno 28] No space left on device: ")
    assert err.endswith(f"\ngo on with: python -m study resume {run.path}\n")
    assert "Traceback" not in out + err
    stored = open_run(run, spec).study.get_trials()
    assert {trial.state for trial in stored} == {TrialState.RUNNING}
    assert {10} == {max(reports(trial)) for trial in stored if reports(trial)}
    assert not any("cause" in trial.user_attrs for trial in stored)

    full.unlink()
    code, _, err = command("resume", run.path)
    assert (code, err) == (0, "")
    trials = open_run(run, spec).study.get_trials()
    assert [(trial.number, trial.state) for trial in trials] == [(n, TrialState.COMPLETE) for n in range(3)]
    for trial in trials:
        assert_whole(spec, trial)


READ = """
import sys, time
from pathlib import Path
from study.record.folder import Run, RunError
from study.record.storage import open_run
from study.record.trials import reports

run, over = Run(sys.argv[1]), Path(sys.argv[2])
most = reads = 0
while not (over.exists() and reads):
    if not (run.study_yaml.is_file() and (run.database.is_file() or run.journal.is_file())):
        time.sleep(0.01)
        continue
    study = open_run(run).study
    for _ in range(5):
        seen = sum(len(reports(trial)) for trial in study.get_trials(deepcopy=False))
        assert seen >= most, (seen, most)
        most, reads = seen, reads + 1
        time.sleep(0.05)
print(reads, most)
"""


@pytest.mark.long
@pytest.mark.parametrize("storage", [None, "journal"])
def test_a_reader_disturbs_no_search_and_no_search_a_reader(ray_up, command, preset, tmp_path, storage):
    run, over = Run(tmp_path / "runs" / "tiny"), tmp_path / "over"
    path = preset(tmp_path, trials=4, storage=storage, budget={"steps": 60, "report_every": 5})
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    arguments = [sys.executable, "-c", READ, str(run.path), str(over)]
    reader = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    try:
        code, _, err = command("run", path, "--root", tmp_path / "runs")
    finally:
        over.touch()
        read, complaint = reader.communicate()
    assert (code, err) == (0, "")
    assert (reader.returncode, complaint) == (0, "")
    assert run.journal.is_file() == (storage == "journal")
    assert run.database.is_file() == (storage is None)
    trials = open_run(run).study.get_trials()
    assert [(trial.number, trial.state) for trial in trials] == [(n, TrialState.COMPLETE) for n in range(4)]
    for trial in trials:
        assert_whole(run.spec(), trial)
    reads, most = map(int, read.split())
    assert most == 4 * 12
    assert reads > 10


@pytest.mark.long
def test_a_search_goes_on_without_its_display(ray_up, raw, tmp_path, monkeypatch):
    monkeypatch.setattr(Lines, "_say", lambda self, line: 1 / 0)
    assert runner.run(StudySpec(**raw(trials=2)), Run(tmp_path / "tiny")).complete == 2
