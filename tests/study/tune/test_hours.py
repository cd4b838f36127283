"""A search that ends by the clock, on a clock that only the test moves; and what a search is expected to cost."""

import functools
import time

import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from study.record.folder import Run
from study.record.progress import TIME, Pace, begin
from study.record.storage import open_run, reopen
from study.record.trials import fail, finish, owed, reports, store_report
from study.record.words import cost, pace, summary
from study.spec import StudySpec
from study.spec.halving import expected
from study.spec.measures import METRICS
from study.tune import runner
from study.tune.display import Lines
from study.tune.hours import Hours
from study.tune.searcher import HandOut

START = 1.8e9
MINUTE = 60.0


class Search:
    """A search of one worker, whose trials of 60 steps take ten seconds a step, as its searcher sees it."""

    def __init__(self, run: Run, spec: StudySpec, hours: float | None, monkeypatch):
        if not run.path.exists():
            run.create(spec)
            open_run(run, spec, create=True)
        self.now = START
        monkeypatch.setattr("study.record.progress.time.time", lambda: self.now)
        self.opened = reopen(run)
        begin(self.opened)
        self.hours = Hours(hours, lambda: self.now)
        self.hours.pace = self.pace = Pace(self.opened)
        unfinished = self.opened.study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
        self.searcher = HandOut(self.opened, None, unfinished, self.hours.takes)

    def ask(self) -> int | None:
        """The number of the trial that is handed out; None where the search takes no more."""
        given = self.searcher.suggest("")
        return None if given == Searcher.FINISHED else given["number"]

    def train(self, number: int, until: int = 60) -> None:
        """A trial's reports, and its end at the full budget."""
        study = self.opened.study
        steps = 0
        while steps < until:
            steps += 10
            self.now += 100.0
            report = {**dict.fromkeys(METRICS, 0.5), "measures": list(METRICS), "train": [], "cause": ""}
            report |= {"steps": steps, "seconds": 10.0 * steps, "reported": self.now, "peak_memory": 3 * 10**8}
            store_report(study, study.get_trials(deepcopy=False)[number]._trial_id, report)
            self.pace.report(number, steps, 10.0 * steps, self.now)
        if steps == 60:
            finish(self.opened, number, report)
            self.pace.end(number)


@pytest.fixture
def search(raw, tmp_path, monkeypatch):
    def make(hours: float | None = None, **changes) -> Search:
        spec = StudySpec(**raw(**{"trials": 50, **changes}))
        return Search(Run(tmp_path / "tiny"), spec, hours, monkeypatch)

    return make


def test_trials_are_handed_out_as_long_as_they_can_end_in_time(search):
    """An hour for trials of ten minutes, one after the other: six fit, and none of them is cut off."""
    at_work = search(hours=1.001)
    ended = []
    while (number := at_work.ask()) is not None:
        at_work.train(number)
        ended.append(number)
    assert ended == [*range(6)]
    assert not at_work.hours.over
    assert at_work.ask() is None  # and no more, however fast what is at work then goes on


def test_the_trial_that_waits_for_its_turn_is_counted_from_then(search):
    at_work = search(hours=0.5)
    first = at_work.ask()
    at_work.train(first, until=10)
    assert at_work.hours.takes()  # 500 s until the first has ended, 600 s for it: 1200 of 1800
    at_work.now += 11 * MINUTE
    assert not at_work.hours.takes()


def test_before_the_first_report_nobody_knows_how_long_a_trial_takes(search):
    at_work = search(hours=0.01)
    assert [at_work.ask(), at_work.ask()] == [0, 1]
    at_work.now += MINUTE
    assert at_work.hours.over
    assert at_work.ask() is None


def test_without_a_limit_nothing_changes(search):
    at_work = search()
    at_work.now += 1e9
    assert at_work.ask() == 0
    assert not at_work.hours.over
    assert at_work.hours.settle(at_work.opened) is at_work.opened
    assert at_work.hours.fitting(0, 50) == ""


def test_how_many_fit_is_told_from_the_first_reports(search):
    at_work = search(hours=1.0)
    at_work.train(at_work.ask(), until=10)
    assert at_work.hours.fitting(1, 50) == "about 5 of 50 trials fit into 60 min"
    assert at_work.hours.fitting(1, 4) == "about 4 of 4 trials fit into 60 min"
    at_work.now += 50 * MINUTE
    line = "a trial takes 10 min and 8 min are left: none that begins now ends in time"
    assert at_work.hours.fitting(1, 50) == line


def test_the_run_has_the_trials_that_were_begun_and_says_that_it_ended_by_its_time(search):
    at_work = search(hours=0.6)
    for _ in range(2):
        at_work.train(at_work.ask())
    left = at_work.ask()
    at_work.train(left, until=10)
    at_work.now = at_work.hours.end
    assert at_work.hours.over
    settled = at_work.hours.settle(at_work.opened)
    runner._keep(settled)
    opened = reopen(at_work.opened.run)
    assert (opened.spec.trials, owed(opened)) == (3, 1)
    assert opened.study.user_attrs[TIME] == [{"hours": 0.6, "asked": 50, "begun": 3}]
    assert "ended by its time, 0.6 h: of 50 trials 3 were begun" in summary(opened).splitlines()
    again = search()
    assert again.ask() == left
    fail(again.opened, left, "crash")
    assert owed(again.opened) == 0
    more = again.opened._replace(spec=again.opened.spec.model_copy(update={"trials": 5}))
    assert "ended by its time" not in summary(more)


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf"])
def test_hours_must_be_some(command, preset, tmp_path, hours, listing):
    path = preset(tmp_path)
    before = listing()
    code, _, err = command("run", path, "--root", tmp_path / "runs", "--hours", hours)
    assert (code, listing()) == (2, before)
    assert err.startswith("--hours: must be a number above 0, such as 0.5 or 8, got ")


def test_the_cost_is_told_from_the_first_reports(search):
    """With ASHA, of the steps that it is expected to leave; without, of all."""
    at_work = search()
    at_work.train(at_work.ask(), until=10)
    at, ahead = at_work.pace.progress(at_work.now), at_work.pace.forecast()
    assert ahead.left == pytest.approx(at.left) == pytest.approx(50 * 600 - 100)
    line = "the search is expected to take 8.3 h, 1 trial at once, in 300 MB of memory"
    assert cost(at, ahead, 3 * 10**8) == line
    assert cost(at, ahead, 0) == line.rpartition(",")[0]


def test_the_cost_with_asha_is_what_it_is_expected_to_leave_and_then_what_it_left(search):
    at_work = search(asha={"grace": 10, "reduction": 2})
    at_work.train(at_work.ask(), until=10)
    at, ahead = at_work.pace.progress(at_work.now), at_work.pace.forecast()
    share = expected([10, 20, 40], 2, 60, 50).share
    assert ahead.left == pytest.approx(share * at.left)
    assert ", at most 8.3 h, 1 trial at once" in cost(at, ahead, 0)
    assert "left, at most" in pace(at, ahead)
    for number in range(1, 20):  # of which all are left alone
        assert at_work.ask() == number
        at_work.train(number)
    assert share < at_work.pace.forecast().left / at_work.pace.progress(at_work.now).left < 1


def test_the_cost_with_promotion_is_what_promotion_is_expected_to_leave(search):
    at_work = search(asha={"grace": 10, "reduction": 2, "mode": "promote", "complete": 4})
    at_work.train(at_work.ask(), until=10)
    share = expected([10, 20, 40], 2, 60, 50, "promote", 4).share
    assert share != expected([10, 20, 40], 2, 60, 50).share
    assert at_work.pace.forecast().left == pytest.approx(share * at_work.pace.progress(at_work.now).left)


@pytest.mark.usefixtures("ray_up")
def test_a_search_ends_by_the_clock(command, preset, tmp_path, monkeypatch):
    """The hour is over with the third trial; what is at work then is finished by `resume`."""
    ended: list[int] = []

    def finish_and_count(opened, number, report):
        finish(opened, number, report)
        ended.append(number)

    monkeypatch.setattr("study.tune.ledger.finish", finish_and_count)
    clock = functools.partial(Hours, now=lambda: time.time() + (3600 if len(ended) >= 3 else 0))
    monkeypatch.setattr(runner, "Hours", clock)
    monkeypatch.setattr(Lines, "FILLED", 0.0)
    path = preset(tmp_path, trials=1000, budget={"steps": 60, "report_every": 10})
    code, out, err = command("run", path, "--root", tmp_path / "runs", "--hours", 1)
    assert (code, err) == (0, "")
    assert [line for line in out.splitlines() if line.startswith("the search is expected to take ")]
    assert "of 1000 trials fit into 60 min\n" in out
    run = Run(tmp_path / "runs" / "tiny")
    opened = open_run(run)
    begun = len(opened.study.get_trials())
    assert 3 <= begun == opened.spec.trials < 10
    assert f"ended by its time, 1 h: of 1000 trials {begun} were begun\n" in out
    assert ("go on with: " in out) == bool(owed(opened))
    code, out, err = command("resume", run.path)
    assert (code, err) == (0, "")
    opened = open_run(run)
    assert owed(opened) == 0
    assert [trial.state for trial in opened.study.get_trials()] == [TrialState.COMPLETE] * begun
    assert all(report["peak_memory"] > 10**7 for report in reports(opened.study.get_trials()[0]).values())
