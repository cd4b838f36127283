"""The ledger: what fails says why, what cannot be written halts, and limits are kept."""

import errno
import os
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState
from ray import tune

from study.record.folder import Run
from study.record.storage import open_run, reopen
from study.record.trials import TAKEN_UP, put_off, reports
from study.spec import StudySpec
from study.spec.measures import METRICS, PLACE, STOPPED
from study.trial.cards import CardError
from study.trial.training import NonFiniteLossError
from study.trial.trial import failed
from study.tune.ledger import LOST_PROCESSES, Ledger
from study.tune.searcher import HandOut


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
        self.opened = opened = open_run(run, spec, create=True)
        self.study = opened.study
        self.ledger = Ledger(opened)

    def begin(self) -> RayTrial:
        drawn = self.study.ask()
        self.spec.draw(drawn)
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


OUT_OF_MEMORY = {**failed(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), 10), "done": True}
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
    assert [trial.state for trial in reopen(at_work.run, at_work.spec).study.get_trials()] == [TrialState.PRUNED]


def test_reports_keep_the_order_in_which_they_came_in(search):
    """One that is made again after a process was lost keeps its place: it is not judged again either."""
    at_work = search()
    one, two = at_work.begin(), at_work.begin()
    for trial, steps in ((one, 10), (two, 10), (two, 20), (one, 20), (two, 10), (two, 20), (two, 30)):
        at_work.report(trial, result(steps))
    again = search()
    for trial, steps in ((one, 20), (two, 40), (one, 30)):
        again.report(again.hand_out(trial.config["number"]), result(steps))
    places = [[(steps, kept[PLACE]) for steps, kept in reports(again.stored(n)).items()] for n in (0, 1)]
    assert places == [[(10, 0), (20, 3), (30, 6)], [(10, 1), (20, 2), (30, 4), (40, 5)]]


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
    spent = at_work.begin()
    at_work.report(spent, OUT_OF_MEMORY)
    at_work.report(spent, OUT_OF_MEMORY)  # alone, too
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


def test_what_runs_out_of_memory_is_tried_once_more_whoever_leads_the_search_then(search):
    at_work = search(max_failed=0.0)
    trial = at_work.begin()
    at_work.report(trial, result(10))
    at_work.report(trial, OUT_OF_MEMORY)
    assert (at_work.states, at_work.ledger.failed, at_work.ledger.halt) == (["RUNNING"], 0, "")
    assert [one.number for one in put_off(at_work.opened)] == [0]
    again = search(max_failed=0.0)  # its driver died meanwhile
    assert [one.number for one in put_off(again.opened)] == [0]
    again.report(again.hand_out(0), result(20))
    assert again.states == ["RUNNING"]
    again.report(again.hand_out(0), OUT_OF_MEMORY)
    assert (again.states, again.ledger.failed, put_off(again.opened)) == (["FAIL"], 1, [])
    assert again.stored(0).user_attrs["cause"] == "oom: CUDA out of memory. Tried to allocate 2.00 GiB."


def test_a_trial_that_has_room_alone_ends_as_any_other(search):
    at_work = search()
    trial = at_work.begin()
    at_work.report(trial, OUT_OF_MEMORY)
    at_work.report(trial, result())
    assert (at_work.states, at_work.ledger.failed) == (["COMPLETE"], 0)
    assert "cause" not in at_work.stored(0).user_attrs


def test_a_card_that_torch_does_not_find_halts_and_fails_no_trial(search):
    at_work = search()
    at_work.end({**failed(CardError("torch finds no GPU"), 0), "done": True})
    assert (at_work.states, at_work.ledger.halt) == (["RUNNING"], "card: torch finds no GPU")


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


def test_a_second_end_of_a_trial_is_not_told(search):
    """Ray starts a trial again of which it thinks that it failed."""
    at_work = search()
    trial = at_work.begin()
    at_work.report(trial, result())
    at_work.report(trial, result())
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


def test_a_trial_is_taken_up_when_its_process_is_there(search, monkeypatch):
    at_work = search()
    trial = at_work.begin()
    assert at_work.stored(0).user_attrs == {}
    at_work.ledger.on_trial_start(0, [], trial)
    assert list(at_work.stored(0).user_attrs) == [TAKEN_UP]
    break_storage(at_work, monkeypatch, "set_trial_user_attr")
    at_work.ledger.on_trial_start(0, [], trial)  # raises nothing: Ray would take it for the trial's error
    assert at_work.ledger.halt == "the study cannot be written: the disk is gone"


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
    study = reopen(at_work.run, at_work.spec).study
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


@pytest.mark.parametrize(
    "code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.ETIMEDOUT, errno.ENOTCONN]
)
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
    drawn = [at_work.spec.draw(study.ask())["lr"]]
    lost = study._storage.create_new_trial(study._study_id)  # and then the driver dies: the grid has not seen it
    assert study.get_trials()[1].system_attrs == {}

    opened = reopen(at_work.run, at_work.spec)
    study = opened.study
    unfinished = study.get_trials(states=[TrialState.RUNNING])
    assert [trial._trial_id for trial in unfinished][1] == lost
    searcher = HandOut(opened, None, unfinished)
    handed = [searcher.suggest(f"id{n}") for n in range(points)]
    assert [config["number"] for config in handed] == [0, 1, 2, 3]
    assert handed[0]["settings"]["lr"] == drawn[0]
    assert {config["settings"]["lr"] for config in handed} == grid
    assert [set(trial.params) for trial in study.get_trials()] == [{"lr"}] * points


def test_what_is_enqueued_is_handed_out_before_what_is_new(search):
    at_work = search(trials=4)
    wanted = [3e-3, 4e-3]
    for lr in wanted:
        at_work.study.enqueue_trial({"lr": lr})
    searcher = HandOut(at_work.ledger.opened, None, [])
    handed = [searcher.suggest(f"id{n}") for n in range(4)]
    assert [config["settings"]["lr"] for config in handed[:2]] == wanted
    assert [config["number"] for config in handed] == [0, 1, 2, 3]
    assert all(trial.state == TrialState.RUNNING for trial in at_work.study.get_trials())
