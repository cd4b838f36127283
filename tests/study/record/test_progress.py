"""How far a search is: steps, pace and time left, by hand, kept up report by report and read from the study alike."""

from typing import Any

import pytest

from study.record import progress as progressing
from study.record import trials as recording
from study.record import words
from study.record.folder import OpenRun, Run
from study.record.progress import SESSIONS, Pace, Progress, begin
from study.record.storage import open_run
from study.record.trials import finish, store_report, take_up
from study.record.words import at_work, pace, summary
from study.spec import StudySpec
from study.spec.measures import METRICS

START = 1_800_000_000.0  # seconds since 1970
STEPS = 60


@pytest.fixture
def opened(raw, tmp_path) -> OpenRun:
    """A run of four trials of 60 steps, not begun."""
    spec = StudySpec(**raw(trials=4))
    run = Run(tmp_path / "tiny")
    run.create(spec)
    return open_run(run, spec, create=True)


@pytest.fixture
def clock(monkeypatch) -> Any:
    """What the time is."""

    class Clock:
        now = START

        def time(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(progressing, "time", clock)
    monkeypatch.setattr(words, "time", clock)
    monkeypatch.setattr(recording, "time", clock)
    return clock


def made(steps: int, seconds: float, reported: float | None) -> dict[str, Any]:
    """A report; an earlier release did not say when it was made."""
    when = {} if reported is None else {"reported": reported}
    report = {**dict.fromkeys(METRICS, 0.5), "measures": list(METRICS), "elbo": -100.0, "steps": steps}
    return {**report, "seconds": seconds, "train": [], **when}


def ask(opened: OpenRun) -> Any:
    trial = opened.study.ask()
    opened.spec.draw(trial)
    return trial


def test_before_the_first_report_nothing_is_said(opened, clock):
    assert Pace(opened).progress(START) is None
    begin(opened)
    ask(opened)
    assert Pace(opened).progress(START + 5) is None


def test_from_the_first_report_of_the_first_trial_on_it_is_said(opened, clock):
    begin(opened)
    store_report(opened.study, ask(opened)._trial_id, made(20, 8.0, START + 10))
    found = Pace(opened).progress(START + 12)
    assert found == Progress(steps=20, sessions=1, elapsed=12.0, rate=2.5, left=88.0)  # 3 x 60 + 40 steps
    assert pace(found) == "20 steps in 12 s, 2.5 a second; at most 88 s left"


def test_kept_up_report_by_report_it_is_what_the_study_says(opened, clock):
    begin(opened)
    kept = Pace(opened)
    trials = [ask(opened) for _ in range(3)]
    for number, steps, seconds, reported in ((0, 20, 8.0, 10), (1, 20, 9.0, 11), (0, 40, 15.0, 18), (0, 60, 20.0, 25)):
        store_report(opened.study, trials[number]._trial_id, made(steps, seconds, START + reported))
        kept.report(number, steps, seconds, START + reported)
        assert kept.progress(START + 30).steps == Pace(opened).progress(START + 30).steps
    finish(opened, 0, {**made(60, 20.0, START + 25), "cause": ""})
    kept.end(0)
    assert kept.progress(START + 30) == Pace(opened).progress(START + 30)
    assert kept.progress(START + 30).rate == pytest.approx(
        80 / (25 - 2)
    )  # the first two seconds were processes starting
    assert kept.progress(START + 30).left == pytest.approx((40 + 60 + 60) / (80 / 23))


def test_steps_that_asha_saved_are_owed_no_more(opened, clock):
    begin(opened)
    trial = ask(opened)
    store_report(opened.study, trial._trial_id, {**made(20, 10.0, START + 10), "done": True})
    finish(opened, 0, {**made(20, 10.0, START + 10), "cause": ""})
    assert Pace(opened).progress(START + 10).left == pytest.approx(3 * 60 / 2)


def test_the_last_trial_alone_is_no_faster_than_one_trial(opened, clock):
    """Two at work together made four steps a second; the last one makes two."""
    begin(opened)
    trials = [ask(opened) for _ in range(4)]
    for trial in trials[:3]:
        store_report(opened.study, trial._trial_id, made(60, 30.0, START + 50))
        finish(opened, trial.number, {**made(60, 30.0, START + 50), "cause": ""})
    store_report(opened.study, trials[3]._trial_id, made(20, 10.0, START + 50))
    assert Pace(opened).progress(START + 50).left == pytest.approx(40 / 2)


def test_a_run_that_went_on_counts_the_work_and_not_the_night_between(opened, clock):
    begin(opened)
    trial = ask(opened)
    store_report(opened.study, trial._trial_id, made(20, 10.0, START + 10))
    clock.now = START + 80_000
    begin(opened)
    assert opened.study.user_attrs[SESSIONS] == [START, START + 80_000]
    assert Pace(opened).progress(clock.now + 5) is None  # this session's pace is not known yet
    store_report(opened.study, trial._trial_id, made(20, 10.0, START + 10))  # what the checkpoint holds, once more
    assert Pace(opened).progress(clock.now + 5) is None
    store_report(opened.study, trial._trial_id, made(40, 15.0, START + 80_005))
    found = Pace(opened).progress(clock.now + 6)
    assert found == Progress(steps=40, sessions=2, elapsed=16.0, rate=4.0, left=50.0)
    assert pace(found) == "40 steps in 16 s of 2 starts, 4 a second; at most 50 s left"


def test_a_report_of_an_earlier_session_that_the_study_had_not_got_is_no_work_of_this_one(opened, clock):
    begin(opened)
    store_report(opened.study, ask(opened)._trial_id, made(20, 10.0, START + 10))
    clock.now = START + 80_000
    begin(opened)
    kept = Pace(opened)
    kept.report(0, 40, 15.0, START + 15)
    assert kept.progress(clock.now) is None
    kept.report(0, 60, 20.0, START + 80_005)
    found = kept.progress(clock.now + 5)
    assert (found.steps, found.rate, found.left) == (60, 4.0, 45.0)


def test_a_run_of_an_earlier_release_has_no_pace(opened, clock):
    store_report(opened.study, ask(opened)._trial_id, made(20, 8.0, None))
    assert Pace(opened).progress(START) is None
    begin(opened)
    assert Pace(opened).progress(START + 10) is None
    assert "reported" not in at_work(opened)


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (Progress(1_234_567, 1, 7200.0, 171.4, 0.0), "1,234,567 steps in 2.0 h, 171 a second"),
        (Progress(20, 1, 50.0, 0.4321, 600.0), "20 steps in 50 s, 0.43 a second; at most 10 min left"),
    ],
)
def test_a_pace_in_words(at, text):
    assert pace(at) == text


# What `status` says, from the study alone.


def test_status_says_when_each_running_trial_was_last_heard_of(opened, clock, command):
    begin(opened)
    trials = [ask(opened) for _ in range(3)]  # the third is drawn for when there is room for it
    for trial in trials[:2]:
        take_up(opened.study, trial._trial_id)
    store_report(opened.study, trials[0]._trial_id, made(20, 8.0, START + 10))
    clock.now = START + 40
    with opened.run.locked():
        code, out, err = command("status", opened.run.path)
    assert (code, err) == (0, "")
    counts, made_, heard, silent, waiting = out.splitlines()
    assert counts == "tiny: 0 complete, 0 pruned, 0 failed, 3 unfinished, of 4 trials; 1 not begun"
    assert made_ == "20 steps in 40 s, 2.5 a second; at most 88 s left"
    assert heard == "trial 0    unfinished at step     20   elbo -100.00   reported 30 s ago"
    assert silent == "trial 1    unfinished at step      0   begun 40 s ago"
    assert waiting == "trial 2    unfinished at step      0   not yet at work"


def test_a_trial_of_an_earlier_session_waits_until_a_process_takes_it_up(opened, clock):
    begin(opened)
    trial = ask(opened)
    take_up(opened.study, trial._trial_id)
    store_report(opened.study, trial._trial_id, made(20, 8.0, START + 10))
    clock.now = START + 3600
    begin(opened)
    with opened.run.locked():
        line = "trial 0    unfinished at step     20   elbo -100.00   reported 60 min ago"
        assert at_work(opened) == f"{line}   not yet at work"
        take_up(opened.study, trial._trial_id)
        assert at_work(opened) == line


def test_status_says_that_nobody_is_at_work(opened, clock, command):
    begin(opened)
    store_report(opened.study, ask(opened)._trial_id, made(20, 8.0, START + 10))
    clock.now = START + 90_000
    lines = command("status", opened.run.path)[1].splitlines()
    assert lines[1] == "20 steps in 10 s, 2.5 a second; at most 88 s left"  # to its last report
    goes_on = f"python -m study resume {opened.run.path}"
    assert lines[2:] == [
        f"no process is at work on it; it goes on with `{goes_on}`",
        "trial 0    unfinished at step     20   elbo -100.00   reported 25.0 h ago",
    ]


def test_of_a_finished_run_only_what_it_took_is_said(opened, clock):
    begin(opened)
    for _ in range(4):
        trial = ask(opened)
        store_report(opened.study, trial._trial_id, made(STEPS, 10.0, START + 10 * (trial.number + 1)))
        finish(opened, trial.number, {**made(STEPS, 10.0, START + 10), "cause": ""})
    assert summary(opened).splitlines()[1] == "240 steps in 40 s, 6 a second"
    assert at_work(opened) == ""
