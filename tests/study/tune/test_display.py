"""What a person sees: lines in words, a live display on a terminal, and nothing of Ray's own."""

import fcntl
import io
import math
import os
import pickle
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial
from rich.console import Console

from study.record import hparams
from study.record.folder import OpenRun, Run
from study.record.progress import SESSIONS
from study.record.trials import RAN_OUT, fail, finish, store_report
from study.record.words import describe, duration, measured, summary
from study.spec import StudySpec
from study.spec.measures import METRICS
from study.tune import display as displays
from study.tune.display import Dashboard, Lines, display

PROJECT = Path(__file__).resolve().parents[3]
FULL = 60
NOW = 1_800_000_000.0  # seconds since 1970
LR = {"lr": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)}


@pytest.fixture
def spec(raw) -> StudySpec:
    return StudySpec(**raw(trials=10))


@pytest.fixture(autouse=True)
def without_tensorboard(monkeypatch) -> None:
    monkeypatch.setattr(hparams, "write", lambda *_, **how: None)


def opened(study: optuna.Study, spec: StudySpec) -> OpenRun:
    """A study without a run folder, which no display needs."""
    return OpenRun(Run("nowhere"), spec, study)


class Made:
    """An Optuna study in memory that trials are put into by hand."""

    def __init__(self, *objectives: str):
        self.study = optuna.create_study(directions=["maximize"] * len(objectives))
        self.study.set_metric_names(list(objectives))
        self.spec = SimpleNamespace(steps=FULL, objectives=objectives, settings_of=dict)

    def add(
        self, steps: int, elbo: float = -100.0, cause: str | None = None, running: bool = False, **more: float
    ) -> int:
        """A trial with one report at that step, ended accordingly; its number."""
        trial = self.study.ask()
        trial.suggest_float("lr", 1e-4, 1e-2, log=True)
        report = {
            **dict.fromkeys(METRICS, 0.25),
            "measures": list(METRICS),
            "elbo": elbo,
            **more,
            "steps": steps,
            "seconds": 1.0,
            "train": [],
        }
        if steps:
            store_report(self.study, trial._trial_id, report)
        if cause is not None:
            fail(opened(self.study, self.spec), trial.number, cause)
        elif not running:
            finish(opened(self.study, self.spec), trial.number, {**report, "cause": ""})
        return trial.number

    def __getitem__(self, number: int) -> FrozenTrial:
        return self.study.trials[number]


@pytest.fixture
def made() -> Made:
    """Two complete trials, of which the second is better, two pruned ones, a failed one and a running one."""
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        made = Made("elbo")
    for arguments in (
        {"steps": FULL, "elbo": -120.0},
        {"steps": FULL, "elbo": -110.25},
        {"steps": 20, "elbo": -90.0},
        {"steps": 10, "cause": "nan: the loss of 'elbo' was not finite at step 13"},
        {"steps": 30, "elbo": -105.0, "running": True},
        {"steps": 10, "elbo": -95.0},
    ):
        made.add(**arguments)
    return made


# In words.


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (40.4, "40 s"), (89.4, "89 s"), (90, "2 min"), (720, "12 min"), (5399, "90 min"), (12600, "3.5 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("elbo", None, "elbo not finite"),
        ("elbo", -110.254, "elbo -110.25"),
        ("elbo", 0.5, "elbo 0.50"),
        ("zero_fraction", 0.25, "zero_fraction 0.250"),
        ("hoyer", -0.5, "hoyer -0.500"),
        ("active_units", 7.0, "active_units 7"),
        ("active_units", 7.33333, "active_units 7.3"),
        ("ones_own", 0.00012345678, "ones_own 0.0001235"),
        ("ones_own", 12345.0, "ones_own 12345"),
    ],
)
def test_numbers(name, value, text):
    assert measured(name, value) == text


def test_a_trial_in_a_line(made, spec):
    assert describe(made[1], spec) == "trial 1    complete   at step     60   elbo -110.25"
    assert describe(made[2], spec) == "trial 2    pruned     at step     20   elbo -90.00"
    assert describe(made[4], spec) == "trial 4    unfinished at step     30   elbo -105.00"
    cause = "nan: the loss of 'elbo' was not finite at step 13"
    assert describe(made[3], spec) == f"trial 3    fail       at step     10   {cause}"
    assert describe(made[made.add(0, running=True)], spec) == "trial 6    unfinished at step      0"


def test_the_last_report_is_the_one_in_the_line(made, spec):
    trial = made[made.add(20, -105.0, running=True)]
    for steps, elbo in ((30, -104.0), (10, -106.0)):
        report = {
            **dict.fromkeys(METRICS, 0.25),
            "measures": list(METRICS),
            "elbo": elbo,
            "steps": steps,
            "seconds": 1.0,
            "train": [],
        }
        store_report(made.study, trial._trial_id, report)
    assert describe(made[trial.number], spec).endswith("unfinished at step     30   elbo -104.00")


def test_every_objective_is_in_the_line_and_what_is_not_finite_is_said(raw):
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        several = Made("elbo", "hoyer")
    number = several.add(FULL, -100.0, hoyer=math.nan)
    spec = StudySpec(**raw(objective=["elbo", "hoyer"]))
    assert describe(several[number], spec).endswith(
        "at step     60   nan: ['elbo', 'hoyer'] were [-100.0, nan] at step 60"
    )
    number = several.add(20, -100.0, hoyer=math.nan)
    assert describe(several[number], spec).endswith("   elbo -100.00   hoyer not finite")


def test_where_a_study_stands(made, spec):
    counts, best, drawn = summary(opened(made.study, spec)).split("\n")
    assert counts == "nowhere: 2 complete, 2 pruned, 1 failed, 1 unfinished, of 10 trials; 4 not begun"
    assert (
        best == "best: trial 1    complete   at step     60   elbo -110.25"
    )  # not the pruned one, though it is higher
    assert drawn == f"      lr {made[1].params['lr']:.4g}"


def test_a_study_without_a_complete_trial_has_no_best(spec):
    study = optuna.create_study(direction="maximize")
    assert (
        summary(opened(study, spec))
        == "nowhere: 0 complete, 0 pruned, 0 failed, 0 unfinished, of 10 trials; 10 not begun"
    )


def test_where_nothing_was_drawn_nothing_is_listed(spec):
    study = optuna.create_study(direction="maximize")
    study.add_trial(optuna.trial.create_trial(value=-1.0))
    assert summary(opened(study, spec)).endswith("\nbest: trial 0    complete   at step      0")


# The callbacks, without Ray.


def rays_trial(number: int, steps: int | None = None, status: str = "RUNNING", **metrics: float) -> Any:
    """What Ray Tune hands a callback."""
    result = {} if steps is None else {"steps": steps, "seconds": steps / 10, "reported": NOW, **metrics}
    return SimpleNamespace(config={"number": number}, status=status, last_result=result)


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """The display's time, in seconds."""
    clock = SimpleNamespace(now=NOW)
    monkeypatch.setattr(displays, "time", SimpleNamespace(perf_counter=lambda: clock.now, time=lambda: clock.now))
    return clock


@pytest.fixture
def begun(made) -> None:
    """A search that began now, after what the trials did."""
    made.study.set_user_attr(SESSIONS, [NOW])


@pytest.fixture
def dashboard(made, spec, clock) -> Dashboard:
    return Dashboard(opened(made.study, spec), Console(record=True, width=100, file=io.StringIO(), force_terminal=True))


def drawn(dashboard: Dashboard, running: list[Any]) -> list[str]:
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(dashboard.picture(running))
    return [line.rstrip() for line in console.export_text().rstrip().splitlines()]


def test_off_a_terminal_every_end_is_a_line(made, spec, clock, capsys):
    lines = Lines(opened(made.study, spec))
    clock.now += 12.34
    lines.on_trial_complete(1, [], rays_trial(2))
    lines.on_trial_error(1, [], rays_trial(3))
    assert capsys.readouterr().out.splitlines() == [
        f"[  12.3 s] {describe(made[2], spec)}   (5 of 10)",
        f"[  12.3 s] {describe(made[3], spec)}   (5 of 10)",
    ]


def test_a_trial_that_goes_on_later_is_a_line_that_says_why(made, spec, clock, capsys):
    lines, storage = Lines(opened(made.study, spec)), made.study._storage
    lines.on_trial_error(1, [], rays_trial(4))
    storage.set_trial_user_attr(made[4]._trial_id, RAN_OUT, "oom: CUDA out of memory")
    lines.on_trial_complete(1, [], rays_trial(4))
    lines.on_trial_error(1, [], rays_trial(4))  # alone
    assert capsys.readouterr().out.splitlines() == [
        "trial 4: its process was lost; it is started again",
        "trial 4: oom: CUDA out of memory; it is tried again alone, when the others have ended",
        "trial 4: its process was lost; it is started again",
    ]


def test_of_a_trial_that_goes_on_only_a_lost_process_is_a_line(made, spec, clock, capsys):
    lines, number = Lines(opened(made.study, spec)), made.study.ask().number
    lines.on_trial_complete(1, [], rays_trial(number))  # as when the search is halted
    assert capsys.readouterr().out == ""
    lines.on_trial_error(1, [], rays_trial(number))
    assert capsys.readouterr().out == f"trial {number}: its process was lost; it is started again\n"


def told(lines: Lines, number: int, steps: int, seconds: float, reported: float) -> None:
    """Hands a callback a report, as Ray does."""
    result = {"steps": steps, "seconds": seconds, "reported": reported, "cause": ""}
    lines.on_trial_result(1, [], rays_trial(number), result)


def test_off_a_terminal_the_first_report_is_a_line_and_then_one_a_minute(made, spec, begun, clock, capsys):
    lines = Lines(opened(made.study, spec))
    for at, number, steps, seconds in ((5, 4, 40, 2), (10, 6, 20, 4), (64.9, 6, 30, 30), (65, 6, 40, 60)):
        clock.now = NOW + at
        told(lines, number, steps, seconds, NOW + at)
    assert lines.error is None
    first, cost, second = capsys.readouterr().out.splitlines()
    assert first == "[   5.0 s] 200 steps in 5 s, 10 a second; at most 26 s left"
    assert cost == "the search is expected to take 7 min, 1 trial at once"  # once all processes may have started
    assert second.startswith("[  65.0 s] 240 steps in 65 s, 0.82 a second; at most ")


def test_the_cost_names_all_that_are_at_work_also_one_that_began_late(made, spec, begun, clock, capsys):
    lines = Lines(opened(made.study, spec))
    clock.now = NOW + 9
    told(lines, 4, 40, 9, clock.now)
    clock.now = NOW + 31
    first, second = rays_trial(4, 40, elbo=-105.0), rays_trial(6)
    result = {"steps": 20, "seconds": 2, "reported": clock.now, "cause": ""}
    lines.on_trial_result(1, [first, second], second, result)
    assert capsys.readouterr().out.splitlines()[-1].endswith(", 2 trials at once")


def test_the_cost_waits_until_as_many_are_at_work_as_before(made, spec, begun, clock, capsys):
    """One of two has ended, and the next has not begun."""
    lines = Lines(opened(made.study, spec))
    for at, others, said in (
        (9, [rays_trial(6, 20, elbo=-105.0)], False),
        (31, [], False),
        (33, [rays_trial(7, 20)], True),
    ):
        clock.now = NOW + at
        result = {"steps": at, "seconds": at, "reported": clock.now, "cause": ""}
        trial = rays_trial(4)
        lines.on_trial_result(1, [trial, *others], trial, result)
        assert ("2 trials at once" in capsys.readouterr().out) == said


def test_the_lines_become_rarer_as_the_work_gets_longer(made, spec, begun, clock, capsys):
    lines = Lines(opened(made.study, spec))
    for hour in range(24 * 30):  # a report an hour, a month long
        clock.now = NOW + 3600 * (hour + 1)
        told(lines, 4, 40 + hour, 3600.0 * (hour + 1), clock.now)
    assert len(capsys.readouterr().out.splitlines()) < 100


def test_the_picture_shows_counts_the_best_and_a_bar_for_each_running_trial(dashboard, made, spec, clock):
    clock.now += 7
    running = [rays_trial(4, 30, elbo=-105.0), rays_trial(11), rays_trial(12, 60, elbo=-99.5)]
    counts, best, *bars = drawn(dashboard, running)
    assert counts == "tiny: 5 of 10 trials: 2 complete, 2 pruned, 1 failed, 3 running"
    assert best == f"best: {describe(made[1], spec)}"
    assert len(bars) == 3
    half, none, full = bars
    assert re.fullmatch(r"trial 4 +━+[╸╺]?━* +30 steps +elbo -105.00 +reported 7 s ago", half)
    assert re.fullmatch(r"trial 11 +[━╺ ]* +0 steps +no report yet", none)
    assert re.fullmatch(r"trial 12 +━{30} +60 steps +elbo -99.50 +reported 7 s ago", full)


def test_a_bar_is_as_long_as_the_share_of_the_budget(dashboard):
    console = Console(width=100, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    lengths = {}
    for steps in (0, 20, 40, 60):
        with console.capture() as captured:
            console.print(dashboard.picture([rays_trial(1, steps, elbo=0.0)]).renderables[2])
        [bar] = [line for line in captured.get().splitlines() if "trial" in line]
        parts = re.findall(r"\x1b\[([0-9;]+)m([━╸╺]+)", bar)
        done = {colour for colour, _ in parts} - {"38;5;237"}  # rich's grey of what is still to do
        lengths[steps] = sum(len(text) for colour, text in parts if colour in done)
    assert lengths == {0: 0, 20: 10, 40: 20, 60: 30}


def test_without_a_complete_trial_it_says_so(spec, clock):
    dashboard = Dashboard(opened(optuna.create_study(direction="maximize"), spec), Console(file=io.StringIO()))
    assert drawn(dashboard, []) == [
        "tiny: 0 of 10 trials: 0 complete, 0 pruned, 0 failed, 0 running",
        "best: none complete yet",
    ]


def test_the_pace_stands_below_the_counts_from_the_first_report_on(made, spec, begun, clock):
    dashboard = Dashboard(opened(made.study, spec), Console(file=io.StringIO()))
    assert "steps" not in "".join(drawn(dashboard, [])[:2])  # what an earlier session did says nothing of the time
    clock.now += 5
    told(dashboard, 4, 40, 4.0, clock.now)
    assert drawn(dashboard, [])[1] == "200 steps in 5 s, 3.3 a second; at most 78 s left"  # 20 + 4 * 60 steps are owed
    finish(opened(made.study, made.spec), 4, {"steps": 40, "cause": "", "elbo": -1.0})
    dashboard.live.console.quiet = True
    dashboard.on_trial_complete(1, [], rays_trial(4))
    assert drawn(dashboard, [])[1] == "200 steps in 5 s, 3.3 a second; at most 72 s left"
    assert dashboard.error is None


def test_a_better_trial_takes_the_place_of_the_best(dashboard, made, spec):
    dashboard.live.console.quiet = True
    number = made.add(FULL, -101.0)
    assert f"trial {number}" not in drawn(dashboard, [])[1]
    dashboard.on_trial_complete(1, [], rays_trial(number))
    assert drawn(dashboard, [])[1] == f"best: {describe(made[number], spec)}"


def test_the_live_display_shows_running_trials_only_and_not_too_often(dashboard, clock, monkeypatch):
    pictures = []
    monkeypatch.setattr(dashboard.live, "update", pictures.append)
    monkeypatch.setattr(dashboard, "picture", lambda running: [trial.config["number"] for trial in running])
    trials = [rays_trial(1), rays_trial(2, status="TERMINATED"), rays_trial(3, status="PENDING"), rays_trial(4)]
    for _ in range(10):
        clock.now += 0.1
        dashboard.on_step_end(1, trials)
    assert pictures == [[1, 4]] * 4  # at 0.1, 0.4, 0.7 and 1 s


def test_lines_stay_above_the_live_display_which_goes_at_the_end(dashboard, made, spec):
    console = dashboard.live.console
    dashboard.setup()
    assert dashboard.live.is_started
    dashboard.on_step_end(1, [rays_trial(4, 30, elbo=-105.0)])
    dashboard.on_trial_complete(1, [], rays_trial(2))
    dashboard.on_experiment_end([])
    assert not dashboard.live.is_started
    assert f"{describe(made[2], spec)}   (5 of 10)" in console.export_text()
    assert console.file.getvalue().endswith("\x1b[?25h\r" + "\x1b[1A\x1b[2K" * 3)  # transient: three lines are erased


def test_nothing_that_it_raises_reaches_ray(made, spec, clock, monkeypatch):
    lines = Lines(opened(made.study, spec))
    monkeypatch.setattr(lines, "_say", lambda line: 1 / 0)
    lines.on_trial_result(1, [], rays_trial(2), {"notes": ["goes on from step 20"]})
    lines.on_trial_complete(1, [], rays_trial(2))
    lines.on_trial_error(1, [], rays_trial(3))
    assert isinstance(lines.error, ZeroDivisionError)


def test_a_dashboard_without_its_study_goes_on_and_stops(dashboard, monkeypatch):
    monkeypatch.setattr(dashboard, "picture", lambda running: 1 / 0)
    dashboard.setup()
    dashboard.on_step_end(1, [rays_trial(4, 30, elbo=-105.0)])
    dashboard.on_experiment_end([])
    assert isinstance(dashboard.error, ZeroDivisionError)
    assert not dashboard.live.is_started


def test_what_looks_like_markup_is_shown_as_it_is(dashboard, made, clock):
    number = made.add(20, cause="crash: OSError: no room at [/data/x], see [lower case] and [bold], host:x:80")
    dashboard.on_trial_complete(1, [], rays_trial(number))
    assert dashboard.error is None
    said = dashboard.live.console.export_text().replace("\n", "")
    assert "no room at [/data/x], see [lower case] and [bold], host:x:80" in said


def test_ray_can_pickle_it(dashboard, made, spec):
    for callback in (dashboard, Lines(opened(made.study, spec))):
        assert isinstance(pickle.loads(pickle.dumps(callback)), type(callback))
        assert callback.study is made.study


@pytest.mark.parametrize(("terminal", "kind"), [(True, Dashboard), (False, Lines)])
def test_a_terminal_gets_the_live_display(made, spec, monkeypatch, terminal, kind):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    assert type(display(opened(made.study, spec))) is kind


# A real search under a pseudo-terminal.


@pytest.fixture(scope="module")
def screen(preset, tmp_path_factory) -> str:
    """All that a search wrote to its terminal."""
    folder = tmp_path_factory.mktemp("screen")
    path = preset(folder, trials=3, budget={"steps": 150, "report_every": 5, "log_every": 50})
    return typescript([sys.executable, "-m", "study", "run", str(path)], folder)


def typescript(command: list[str], folder: Path) -> str:
    """Runs a command that must succeed on a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    env = {**os.environ, "PYTHONPATH": str(PROJECT), "TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "CI"):
        env.pop(name, None)
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    written, end = b"", time.monotonic() + 120
    os.set_blocking(ours, False)
    try:
        while time.monotonic() < end:
            over = process.poll() is not None
            with suppress(BlockingIOError):
                try:
                    while chunk := os.read(ours, 65536):
                        written += chunk
                except OSError as error:
                    if isinstance(error, BlockingIOError):
                        raise
                    break  # the terminal is closed
            if over:
                break
            time.sleep(0.02)
        assert process.wait(120) == 0, written.decode()
        return written.decode()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(ours)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r", "")


@pytest.mark.long
def test_a_terminal_shows_counts_the_best_and_bars_while_it_works(screen):
    text = plain(screen)
    assert re.search(r"tiny: 0 of 3 trials: 0 complete, 0 pruned, 0 failed, [12] running", text)
    assert "best: none complete yet" in text
    assert re.search(r"trial 0 +[━╸╺]{30} +[0-9]+ steps +elbo -[0-9.]+", text)


@pytest.mark.long
def test_a_terminal_keeps_a_line_for_each_trial_and_gets_its_cursor_back(screen):
    text = plain(screen)
    ended = re.findall(r"s\] trial ([0-9]+) +complete +at step +150 +elbo -[0-9.]+ +\(([0-9]) of 3\)", text)
    assert sorted(number for number, _ in ended) == ["0", "1", "2"]
    assert [done for _, done in ended] == ["1", "2", "3"]
    assert screen.rindex("\x1b[?25h") > screen.rindex("\x1b[?25l")
    assert "tiny: 3 complete, 0 pruned, 0 failed, 0 unfinished, of 3 trials\n" in text


@pytest.mark.long
def test_a_terminal_shows_nothing_of_rays_own(screen):
    phrases = (
        "Trial status",
        "Logical resource usage",
        "Ray Tune",
        "(pid=",
        "ray_results",
        "Tuner",
        "INFO",
        "WARNING",
        "╭",
    )
    assert not [phrase for phrase in phrases if phrase in screen]


def test_a_hard_end_gives_the_cursor_back(tmp_path):
    script = """
import os, signal, sys, time
from study import signals
signals.EXIT_SECONDS = 0.1
print("\\x1b[?25l", end="", flush=True)
real, os._exit = os._exit, lambda code: real(0 if code == 143 else 1)
with signals.stopping_on_signals(lambda: "this command"):
    signal.raise_signal(signal.SIGTERM)
    time.sleep(30)
"""
    written = typescript([sys.executable, "-c", script], tmp_path)
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
