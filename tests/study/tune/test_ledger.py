"""The ledger and how searches end: what fails says why, what cannot be written halts, and limits are kept."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray import tune

import analysis
import imagesets
from study.record.folder import Run
from study.record.storage import STOPPED, open_study, reopen, reports
from study.spec import StudySpec
from study.spec.measures import METRICS
from study.trial import checkpoint
from study.trial.training import NonFiniteLossError, Training, derived_seed
from study.trial.trial import failed
from study.tune import runner
from study.tune.ledger import LOST_PROCESSES, Ledger
from study.tune.searcher import HandOut
from study.tune.trainable import Trainable

PROJECT = Path(__file__).resolve().parents[3]


def result(steps: int = 60, **changes: Any) -> dict[str, Any]:
    made = {
        **dict.fromkeys(METRICS, 0.5),
        "measures": list(METRICS),
        "steps": steps,
        "seconds": 1.0,
        "train": [],
        "cause": "",
        "done": steps >= 60,
    }
    return {**made, **changes}


class RayTrial(tune.experiment.Trial):
    """A trial as Ray has it, without a folder for what became of it."""

    pickled_error_file = None


class Searching:
    """A search as the ledger sees it, with trials that nobody trains."""

    def __init__(self, run: Run, spec: StudySpec):
        self.run, self.spec = run, spec
        self.study = open_study(run, spec, create=True)
        self.ledger = Ledger(self.study, spec)

    def begin(self) -> RayTrial:
        drawn = self.study.ask()
        self.spec.space(drawn)
        return self.hand_out(drawn.number)

    def hand_out(self, number: int) -> RayTrial:
        return RayTrial("tests", config={"number": number}, max_failures=LOST_PROCESSES, stub=True)

    def lose(self, trial: RayTrial) -> bool:
        """What Ray does when a process is lost at work; returns whether it starts the trial again."""
        trial.run_metadata.num_failures += 1
        if not trial.should_recover():
            self.ledger.on_trial_error(0, [], trial)
            return False
        return True

    def lose_in_setup(self, trial: RayTrial) -> None:
        """What Ray does when a process is lost that was being set up: it gives the trial up at once."""
        trial.run_metadata.num_failures += 1
        self.ledger.on_trial_error(0, [], trial)

    def report(self, trial: RayTrial, made: dict[str, Any]) -> None:
        """What Ray does with a result."""
        self.ledger.on_trial_result(0, [], trial, made)
        trial.update_last_result(made)
        if made["done"]:
            self.ledger.on_trial_complete(0, [], trial)

    def end(self, made: dict[str, Any]) -> None:
        self.report(self.begin(), made)

    def stored(self, number: int) -> optuna.trial.FrozenTrial:
        return self.study.get_trials()[number]

    @property
    def states(self) -> list[str]:
        return [trial.state.name for trial in self.study.get_trials()]


@pytest.fixture
def search(raw, tmp_path):
    """Makes a search; called again, the session that goes on with it."""

    def make(**changes: Any) -> Searching:
        spec, run = StudySpec(**raw(**{"trials": 4, **changes})), Run(tmp_path / "runs" / "tiny")
        if not run.path.exists():
            run.create(spec)
        return Searching(run, spec)

    return make


NAN = {**failed(NonFiniteLossError("loss of 'elbo'", 3), 10), "done": True}


def full_disk(error_code: int = errno.ENOSPC) -> dict[str, Any]:
    return {**failed(OSError(error_code, os.strerror(error_code)), 10), "done": True}


# What is written.


def test_a_trial_that_asha_stops_is_marked_with_its_last_report_before_it_is_told(search):
    """A death in between leaves what `reopen` needs."""
    at_work = search(asha={"grace": 10, "reduction": 2})
    trial = at_work.begin()
    at_work.report(trial, result(10))
    stopped = result(20, done=True)
    at_work.ledger.on_trial_result(0, [], trial, stopped)  # and then the driver dies
    (stored,) = at_work.study.get_trials()
    assert (stored.state, [report.get(STOPPED) for report in reports(stored).values()]) == (
        TrialState.RUNNING,
        [None, True],
    )
    assert [trial.state for trial in reopen(at_work.run, at_work.spec).get_trials()] == [TrialState.PRUNED]


def test_a_crash_keeps_the_end_of_its_traceback_and_no_other_trial_has_one(search):
    def deep(level: int) -> None:
        if level:
            deep(level - 1)
        raise ZeroDivisionError("at the bottom")

    at_work = search(trials=20)
    with pytest.raises(ZeroDivisionError) as caught:
        deep(30)
    at_work.end({**failed(caught.value, 10), "done": True})
    at_work.end(NAN)
    at_work.end({**failed(MemoryError(), 10), "done": True})
    at_work.end(result())
    crashed, *others = at_work.study.get_trials()
    assert crashed.user_attrs["cause"] == "crash: ZeroDivisionError: at the bottom"
    lines = crashed.user_attrs["traceback"].splitlines()
    assert lines[-1] == "ZeroDivisionError: at the bottom"
    assert 'raise ZeroDivisionError("at the bottom")' in "\n".join(lines)
    assert len(lines) <= 12
    assert [trial.user_attrs.get("cause", "").split(":")[0] for trial in others] == ["nan", "oom", ""]
    assert not any("traceback" in trial.user_attrs for trial in others)
    assert at_work.states == ["FAIL", "FAIL", "FAIL", "COMPLETE"]


def test_a_worker_that_is_lost_too_often_is_a_failure_that_says_so(search):
    at_work = search()
    trial = at_work.begin()
    assert [at_work.lose(trial) for _ in range(LOST_PROCESSES + 1)] == [True] * LOST_PROCESSES + [False]
    assert at_work.stored(0).user_attrs == {"cause": "lost: the worker's process ended"}
    assert (at_work.ledger.left, at_work.ledger.halt, at_work.ledger.failed) == ([], "", 1)


def test_a_trial_that_gets_on_between_its_losses_is_not_given_up(search):
    """As over days on machines that come and go."""
    at_work = search()
    trial = at_work.begin()
    for steps in (10, 20, 30):
        assert [at_work.lose(trial) for _ in range(LOST_PROCESSES)] == [True] * LOST_PROCESSES
        at_work.report(trial, result(steps))
    assert [at_work.lose(trial) for _ in range(LOST_PROCESSES + 1)] == [True] * LOST_PROCESSES + [False]
    assert (at_work.states, at_work.ledger.failed) == (["FAIL"], 1)


def test_a_worker_that_is_lost_in_its_setup_is_no_failure_until_it_is_so_too_often(search):
    """Ray starts a trial again whose process died at work, not one whose process died while it was being set up."""
    at_work = search()
    at_work.begin()
    for lost in range(1, LOST_PROCESSES + 1):
        at_work.lose_in_setup(at_work.hand_out(0))  # each time by a new Tuner
        assert (at_work.ledger.left, at_work.states, at_work.ledger.failed) == ([0] * lost, ["RUNNING"], 0)
    at_work.lose_in_setup(at_work.hand_out(0))
    assert (len(at_work.ledger.left), at_work.states, at_work.ledger.failed) == (LOST_PROCESSES, ["FAIL"], 1)


def test_a_report_makes_up_for_what_was_lost_in_setups(search):
    at_work = search()
    at_work.begin()
    for steps in (10, 20):
        for _ in range(LOST_PROCESSES):
            at_work.lose_in_setup(at_work.hand_out(0))
        at_work.report(at_work.hand_out(0), result(steps))
    assert (at_work.states, at_work.ledger.failed) == (["RUNNING"], 0)


def test_losses_at_work_and_in_a_setup_count_together(search):
    at_work = search()
    trial = at_work.begin()
    assert [at_work.lose(trial) for _ in range(LOST_PROCESSES)] == [True] * LOST_PROCESSES
    at_work.lose_in_setup(trial)
    assert (at_work.ledger.left, at_work.states) == ([], ["FAIL"])


def test_what_another_callback_raises_after_an_end_is_not_told_again(search):
    at_work = search()
    trial = at_work.begin()
    at_work.report(trial, result())
    at_work.ledger.on_trial_error(0, [], trial)
    assert (at_work.states, at_work.ledger.halt, at_work.ledger.failed) == (["COMPLETE"], "", 0)


# What cannot be written.


class Gone(OSError):
    """What a broken storage raises."""


def break_storage(at_work: Searching, monkeypatch, *methods: str) -> list[str]:
    """Lets methods of the storage fail; returns a list of those that were called."""
    called = []
    for method in methods:

        def broken(*_: Any, method: str = method, **__: Any) -> None:
            called.append(method)
            raise Gone("the disk is gone")

        monkeypatch.setattr(at_work.study._storage, method, broken)
    return called


def test_a_report_that_cannot_be_stored_ends_the_search_at_once(search, monkeypatch):
    at_work = search()
    trial = at_work.begin()
    with monkeypatch.context() as patch:
        break_storage(at_work, patch, "set_trial_user_attr")
        with pytest.raises(Gone):
            at_work.report(trial, result(10))
    assert at_work.ledger.halt == "the study cannot be written: the disk is gone"
    at_work.ledger.on_trial_error(0, [], trial)  # Ray takes trials down, whatever it makes of it
    trial.update_last_result(result())
    at_work.ledger.on_trial_complete(0, [], trial)
    at_work.ledger.on_trial_result(0, [], trial, result(20))
    (stored,) = at_work.study.get_trials()
    assert (stored.state, stored.user_attrs) == (TrialState.RUNNING, {})


def test_an_end_that_cannot_be_told_halts_and_is_told_once_when_the_run_goes_on(search, monkeypatch):
    at_work = search()
    trial = at_work.begin()
    with monkeypatch.context() as patch:
        called = break_storage(at_work, patch, "set_trial_state_values")
        at_work.report(trial, result(60, elbo=-7.0))  # raises nothing: Ray would take it for the trial's error
        at_work.ledger.on_trial_error(0, [], trial)
        assert called == ["set_trial_state_values"]
    assert at_work.ledger.halt == "the study cannot be written: the disk is gone"
    assert at_work.states == ["RUNNING"]
    study = reopen(at_work.run, at_work.spec)
    assert [(trial.state, trial.value) for trial in study.get_trials()] == [(TrialState.COMPLETE, -7.0)]


def test_a_worker_that_was_lost_while_the_storage_is_gone_halts(search, monkeypatch):
    at_work = search()
    trial = at_work.begin()
    with monkeypatch.context() as patch:
        break_storage(at_work, patch, "set_trial_state_values", "set_trial_user_attr")
        for _ in range(LOST_PROCESSES + 1):
            at_work.lose(trial)
    assert at_work.ledger.halt == "the study cannot be written: the disk is gone"
    assert at_work.states == ["RUNNING"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_no_failure_of_the_trial(search, code):
    at_work = search()
    other, trial = at_work.begin(), at_work.begin()
    at_work.report(trial, full_disk(code))
    assert at_work.ledger.halt == f"disk: [Errno {code}] {os.strerror(code)}"
    assert at_work.ledger.failed == 0
    at_work.report(other, result())  # a result that was on its way: not told either, for it is repeated
    assert at_work.states == ["RUNNING", "RUNNING"]
    assert at_work.stored(1).user_attrs == {}


# The share of failed trials.


@pytest.mark.parametrize(
    ("share", "trials", "allowed"),
    [(0.0, 4, 0), (0.5, 4, 2), (0.5, 5, 2), (1.0, 4, 4), (0.1, 4, 0), (0.25, 4, 1)],
)
def test_more_failures_than_the_share_halt(search, share, trials, allowed):
    at_work = search(max_failed=share, trials=trials)
    for _ in range(allowed):
        at_work.end(NAN)
    assert at_work.ledger.halt == ""
    if allowed == trials:
        return
    lost = at_work.begin()
    for _ in range(LOST_PROCESSES + 1):
        at_work.lose(lost)
    assert at_work.ledger.halt == (
        f"{allowed + 1} of {trials} trials failed, more than the share that max_failed allows, {share:g}; "
        f"the last: lost: the worker's process ended"
    )
    assert at_work.states == ["FAIL"] * (allowed + 1)


def test_each_session_counts_anew(search):
    first = search(max_failed=0.25)
    first.end(NAN)
    second = search(max_failed=0.25)
    second.end(NAN)
    assert (second.ledger.failed, second.ledger.halt) == (1, "")
    second.end(NAN)
    assert second.ledger.halt.startswith("2 of 4 trials failed")


# What is handed out again.


def test_a_trial_killed_before_its_first_draw_is_drawn_from_the_grid(search):
    at_work = search(sampler="grid", trials=4)
    study, points = at_work.study, 4
    grid = set(study.sampler._search_space["lr"])
    assert len(grid) == points
    drawn = [at_work.spec.space(study.ask())["lr"]]
    lost = study._storage.create_new_trial(study._study_id)  # and then the driver dies: the grid has not seen it
    assert study.get_trials()[1].system_attrs == {}

    study = reopen(at_work.run, at_work.spec)
    unfinished = study.get_trials(states=[TrialState.RUNNING])
    assert [trial._trial_id for trial in unfinished][1] == lost
    searcher = HandOut(study, at_work.spec, at_work.run, None, unfinished)
    handed = [searcher.suggest(f"id{n}") for n in range(points)]
    assert [config["number"] for config in handed] == [0, 1, 2, 3]
    assert handed[0]["settings"]["lr"] == drawn[0]
    assert {config["settings"]["lr"] for config in handed} == grid
    assert [set(trial.params) for trial in study.get_trials()] == [{"lr"}] * points


# On Ray.


@pytest.fixture(scope="module")
def ray_up(local_ray):
    with local_ray():
        yield


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
    trials = open_study(run, spec).get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "COMPLETE", "FAIL", "COMPLETE"]
    assert told == {trial.number: trial.state for trial in trials}
    step = first_bad_step(undisturbed(spec, trials[1], lr=1e18))
    assert trials[1].user_attrs == {"cause": f"nan: the loss of 'elbo' was not finite at step {step}"}
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
    stored = open_study(run, run.spec()).get_trials()
    assert len(stored) < 12
    assert [trial.state for trial in stored].count(TrialState.FAIL) == 1
    assert len(analysis.trials(run.path)) == len(stored)


def full_from(step: int, while_exists: Path) -> type[Trainable]:
    """A trainable on whose disk there is no room for checkpoints from a step on."""

    class Full(Trainable):  # in a function, so that it travels to the workers whole
        def step(self) -> dict[str, Any]:
            save = checkpoint.save_last

            def no_room(folder: Path, state: dict[str, Any]) -> None:
                if state["training"]["step"] >= step and while_exists.exists():
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / checkpoint.LAST))
                save(folder, state)

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
    stored = open_study(run, spec).get_trials()
    assert {trial.state for trial in stored} == {TrialState.RUNNING}
    assert {10} == {max(reports(trial)) for trial in stored if reports(trial)}
    assert not any("cause" in trial.user_attrs for trial in stored)

    full.unlink()
    code, _, err = command("resume", run.path)
    assert (code, err) == (0, "")
    trials = open_study(run, spec).get_trials()
    assert [(trial.number, trial.state) for trial in trials] == [(n, TrialState.COMPLETE) for n in range(3)]
    for trial in trials:
        assert_whole(spec, trial)


READ = """
import sys, time
from pathlib import Path
from study.record.folder import Run, RunError
from study.record.storage import open_study, reports

run, over = Run(sys.argv[1]), Path(sys.argv[2])
most = reads = 0
while not (over.exists() and reads):
    if not (run.study_yaml.is_file() and (run.database.is_file() or run.journal.is_file())):
        time.sleep(0.01)
        continue
    study = open_study(run, run.spec())
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
    trials = open_study(run, run.spec()).get_trials()
    assert [(trial.number, trial.state) for trial in trials] == [(n, TrialState.COMPLETE) for n in range(4)]
    for trial in trials:
        assert_whole(run.spec(), trial)
    reads, most = map(int, read.split())
    assert most == 4 * 12
    assert reads > 10
